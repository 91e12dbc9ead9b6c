"""vLLM engines in processes of their own, several side by side: an idle one costs nothing."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from vllm import SamplingParams
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.outputs import RequestOutput
from vllm.v1.engine.async_llm import AsyncLLM

from rpn_plugin.engine_args import RPN_MEMORY_MIB, hf_overrides, kv_transfer_config
from rpn_plugin.messages import RoiRequest

CELL = 28
View = tuple[Image.Image, str]
"""Pixels, and the name they are cached by."""

_VIEW = "<|vision_start|><|image_pad|><|vision_end|>"


@dataclass(frozen=True)
class Ask:
    """One user turn: views, each with the name it is cached by, then a question."""

    views: Sequence[View]
    question: str
    roi: bool = False
    max_tokens: int = 1

    def prompt(self) -> dict[str, Any]:
        """As vLLM takes it."""
        text = (
            "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
            f"{_VIEW * len(self.views)}{self.question}<|im_end|>\n<|im_start|>assistant\n"
        )
        if not self.views:
            return {"prompt": text}
        return {
            "prompt": text,
            "multi_modal_data": {"image": [view for view, _ in self.views]},
            "multi_modal_uuids": {"image": [name for _, name in self.views]},
        }

    def sampling(self) -> SamplingParams:
        """Greedy, of exactly `max_tokens`."""
        extra = {"kv_transfer_params": RoiRequest().to_params()} if self.roi else None
        return SamplingParams(
            temperature=0, max_tokens=self.max_tokens, ignore_eos=True, extra_args=extra
        )


class Engine:
    """A started engine."""

    def __init__(self, runner: asyncio.Runner, args: AsyncEngineArgs) -> None:
        self._runner = runner
        self._ids = itertools.count()
        self._llm = runner.run(_start(args))

    def ask(self, *asks: Ask) -> list[RequestOutput]:
        """The final outputs of requests that arrive at once."""

        async def together() -> list[RequestOutput]:
            return await asyncio.gather(*(self._final(ask) for ask in asks))

        return self._runner.run(together())

    def process(self, ask: Ask) -> None:
        """What the API process does before a request goes to the engine, which it does not."""
        self._llm.input_processor.process_inputs(
            "measured", ask.prompt(), ask.sampling(), ("generate",)
        )

    def stop(self) -> None:
        """End its processes."""
        self._llm.shutdown()

    async def _final(self, ask: Ask) -> RequestOutput:
        outputs: AsyncIterator[RequestOutput] = self._llm.generate(
            ask.prompt(), ask.sampling(), f"request-{next(self._ids)}"
        )
        async for output in outputs:
            final = output
        return final


@contextmanager
def engines(model: Path, arms: dict[str, dict[str, Any]]) -> Iterator[dict[str, Engine]]:
    """An engine for each arm: vLLM's arguments, and `memory_mib` of the RPN or `stock`."""
    with asyncio.Runner() as runner:
        started: dict[str, Engine] = {}
        try:
            for name, arguments in arms.items():
                started[name] = Engine(runner, _arguments(model, **arguments))
            yield started
        finally:
            for engine in started.values():
                engine.stop()


def noise(rows: int, cols: int, seed: int) -> View:
    """A view of rows x cols tokens and its name: every seed is another picture."""
    blotches = np.random.default_rng(seed).integers(0, 256, (rows, cols, 3), dtype=np.uint8)
    size = (cols * CELL, rows * CELL)
    image = Image.fromarray(blotches).resize(size, Image.Resampling.BICUBIC)
    return image, f"noise-{rows}-{cols}-{seed}"


def _arguments(
    model: Path, stock: bool = False, memory_mib: float = RPN_MEMORY_MIB, **arguments: Any
) -> AsyncEngineArgs:
    plugins = {} if stock else {
        "hf_overrides": hf_overrides(model / "rpn", memory_mib),
        "kv_transfer_config": kv_transfer_config(),
    }  # fmt: skip
    common = {
        "dtype": "float32",
        "enforce_eager": True,
        "block_size": 32,
        "max_model_len": 2048,
        "max_num_seqs": 32,
        "limit_mm_per_prompt": {"image": 2, "video": 0},
        "disable_log_stats": True,
    }
    return AsyncEngineArgs(model=str(model), **{**common, **plugins, **arguments})


async def _start(args: AsyncEngineArgs) -> AsyncLLM:
    return AsyncLLM.from_engine_args(args)
