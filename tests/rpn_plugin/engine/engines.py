"""Real vLLM engines in processes of their own, driven as the server drives them."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vllm import SamplingParams
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.outputs import RequestOutput
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.metrics.reader import Counter, get_metrics_snapshot

from rpn_plugin.engine_args import hf_overrides, kv_transfer_config
from rpn_plugin.messages import RoiMap, RoiRequest, decode_result
from tests.rpn_plugin.engine.chats import Chat

BLOCK = 32
"""Tokens of a cache block: the least a CPU takes, so that short prefixes can be hit."""

_PLAIN_TOKENS = range(256)
_PREFIX_CACHE_MIB = 2
"""17 blocks of the tests' RPN: small enough that blocks are evicted."""
_COMMON: dict[str, Any] = {
    "block_size": BLOCK,
    "limit_mm_per_prompt": {"image": 2, "video": 0},
    "mm_processor_kwargs": {"max_pixels": 256 * 28 * 28},
    "max_model_len": 640,
    "max_num_seqs": 16,
}
KINDS: dict[str, dict[str, Any]] = {
    # Chunks shorter than any prompt here, and a cache that a few long answers fill.
    "eager": {
        "dtype": "float32",
        "enforce_eager": True,
        "max_num_batched_tokens": 64,
        "num_gpu_blocks_override": 48,
    },
    "bfloat16": {"dtype": "bfloat16", "enforce_eager": True, "max_num_batched_tokens": 640},
    "compiled": {"dtype": "float32", "enforce_eager": False, "max_num_batched_tokens": 640},
}


@dataclass(frozen=True)
class Ask:
    """One request to an engine; `params` None leaves it unflagged."""

    chat: Chat
    params: dict[str, Any] | None = field(default_factory=RoiRequest().to_params)
    max_tokens: int = 1
    prompt_token_ids: Sequence[int] = ()
    """Stand in place of the chat's text, if given; one placeholder for each picture."""

    def prompt(self) -> dict[str, Any]:
        """The prompt as vLLM takes it."""
        pictures = {"multi_modal_data": {"image": list(self.chat.pictures)}}
        ids = self.prompt_token_ids
        text = {"prompt_token_ids": list(ids)} if ids else {"prompt": self.chat.text}
        return text | (pictures if self.chat.pictures else {})

    def sampling(self) -> SamplingParams:
        """Greedy, always `max_tokens` long, and never a picture's placeholder."""
        return SamplingParams(
            temperature=0,
            max_tokens=self.max_tokens,
            ignore_eos=True,
            allowed_token_ids=list(_PLAIN_TOKENS),
            extra_args=None if self.params is None else {"kv_transfer_params": self.params},
        )


class Engine:
    """A started engine; its methods return when the requests have ended."""

    def __init__(self, model: Path, rpn: Path, **arguments: Any) -> None:
        self._runner = asyncio.Runner()
        self._ids = itertools.count()
        args = AsyncEngineArgs(
            model=str(model),
            hf_overrides=hf_overrides(rpn, prefix_cache_mib=_PREFIX_CACHE_MIB),
            kv_transfer_config=kv_transfer_config(),
            **{**_COMMON, **arguments},
        )
        self._llm = self._runner.run(_start(args))

    def ask(self, *asks: Ask) -> list[RequestOutput]:
        """The final outputs of requests that arrive all at once."""

        async def together() -> list[RequestOutput]:
            return await asyncio.gather(*(self._final(ask) for ask in asks))

        return self._runner.run(together())

    def map(self, ask: Ask) -> RoiMap:
        """The map of one request; RoiError if the engine reports one."""
        (output,) = self.ask(ask)
        return decode_result(output.kv_transfer_params)

    def ask_and_hang_up(self, *asks: Ask, after: float) -> None:
        """Send requests and cancel them all `after` seconds later, answered or not."""

        async def hang_up() -> None:
            tasks = [asyncio.create_task(self._final(ask)) for ask in asks]
            await asyncio.sleep(after)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        self._runner.run(hang_up())

    def drop_prefix_cache(self, connector: bool) -> None:
        """Make vLLM clear what it has cached, and our connector too or not."""
        assert self._runner.run(self._llm.reset_prefix_cache(reset_connector=connector))

    def counter(self, name: str) -> int:
        """The value of one of vLLM's counters."""
        return sum(
            metric.value
            for metric in get_metrics_snapshot()
            if isinstance(metric, Counter) and metric.name == name
        )

    def stop(self) -> None:
        """End the engine's processes."""
        self._llm.shutdown()
        self._runner.close()

    async def _final(self, ask: Ask) -> RequestOutput:
        """The last output; asked for again where vLLM's engine had lost the picture.

        A request cancelled on its way to the engine leaves the two caches of processed pictures at
        odds; the next one with its picture ends with `error` and is to be sent again.
        """
        final = await self._once(ask)
        lost = final.outputs[0].finish_reason == "error"
        return await self._once(ask) if lost else final

    async def _once(self, ask: Ask) -> RequestOutput:
        outputs: AsyncIterator[RequestOutput] = self._llm.generate(
            ask.prompt(), ask.sampling(), f"request-{next(self._ids)}"
        )
        async for output in outputs:
            final = output
        return final


async def _start(args: AsyncEngineArgs) -> AsyncLLM:
    return AsyncLLM.from_engine_args(args)


class OneAtATime:
    """Keeps the engine that was asked for last; another kind takes its place."""

    def __init__(self, model: Path, rpn: Path) -> None:
        self._model, self._rpn = model, rpn
        self._kind: str | None = None
        self._engine: Engine | None = None

    def get(self, kind: str) -> Engine:
        """The running engine of this kind."""
        if self._kind != kind or self._engine is None:
            self.stop()
            self._engine, self._kind = Engine(self._model, self._rpn, **KINDS[kind]), kind
        return self._engine

    def stop(self) -> None:
        """Stop what runs."""
        if self._engine is not None:
            self._engine.stop()
        self._engine = self._kind = None
