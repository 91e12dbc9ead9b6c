"""Where the time goes: py-spy on a server's processes while one arm is asked without a pause.

A hundred times a second it notes the stack of every thread that is running. Each stack counts for
the innermost place that it passes through (PLACES), so that a place has its own time and that of
what it calls, but for what other places of the list account for.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sysconfig
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from loadtests.compare.cells import Cell
from loadtests.compare.cpu import Processes
from loadtests.compare.measuring import Measuring

RATE = 100
"""Samples a second."""

PY_SPY = str(Path(sysconfig.get_path("scripts")) / "py-spy")
"""It comes with vLLM."""

AT_ONCE, REQUESTS = 4, 32
_ATTACHED_WITHIN = 2.0

PLACES: Mapping[str, str] = {
    "RPN (ours)": r"rpn_plugin/(engine/rpn_|head|rotary|gate_branch)",
    "tap and connector (ours)": r"rpn_plugin/engine/",
    "scaling pictures (ours)": r"server/(views|viewing)\.py",
    "regions and crops (ours)": r"rpn_plugin/roi\.py|server/look\.py",
    "the rest of our front end": r"server/",
    "vision tower": r"models/qwen2_5_vl\.py|models/vision\.py",
    "language model": r"models/qwen2\.py",
    "logits and sampling": r"logits_processor|v1/sample|compute_logits",
    "steps: inputs and bookkeeping": r"worker/(gpu|cpu)_model_runner|worker/.*worker\.py",
    "waiting for the worker, spinning": r"shm_broadcast|sched_yield",
    "scheduler": r"v1/core/|v1/engine/core",
    "decoding pictures": r"PIL/\w+(File|Plugin)\.py|multimodal/media|multimodal/image",
    "processing pictures": r"image_processing|vllm/multimodal|processing_utils",
    "tokens and chat templates": r"tokenizer|jinja2|chat_utils|renderers/",
    "messages between processes": r"serial_utils|msgspec|zmq",
    "HTTP": r"uvicorn|starlette|fastapi|asyncio|uvloop",
}
"""Of processes that serve a Qwen2.5-VL: patterns that are found in a frame's function or file."""

WAITING = re.compile(
    r"/(threading|selectors|queue)\.py|multiprocessing/connection|futures/thread\.py|zmq/sugar/poll"
)
"""Innermost frames of threads that wait, though py-spy may take them for running."""


@dataclass(frozen=True)
class Profile:
    """Of one arm: seconds by (process, place) while REQUESTS chats were answered."""

    arm: str
    spent: Mapping[tuple[str, str], float]


def profiles(
    measuring: Measuring, setting: str, arms: Sequence[str], folder: Path
) -> Iterator[Profile]:
    """One arm after the other, REQUESTS of each, AT_ONCE at once; raw stacks are left in `folder`.

    Raises RuntimeError if py-spy may not look at the processes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for arm in arms:
        cell = Cell(setting, AT_ONCE, 0, arm)
        with _watched(measuring.processes(arm), folder, f"{setting}-{arm}") as stacks:
            measuring.measure(cell, REQUESTS)
        spent: defaultdict[tuple[str, str], float] = defaultdict(float)
        for process, path in stacks:
            for place, samples in attribute(path.read_text()).items():
                spent[process, place] += samples / RATE
        yield Profile(arm, spent)


def attribute(stacks: str) -> dict[str, int]:
    """Samples by place, of py-spy's raw stacks: `outermost;...;innermost count` a line."""
    counted: Counter[str] = Counter()
    for line in stacks.splitlines():
        frames, _, count = line.rpartition(" ")
        if not WAITING.search(frames.rpartition(";")[2]):
            counted[_place(frames.split(";"))] += int(count)
    return dict(counted)


def profile_table(found: Sequence[Profile]) -> str:
    """Milliseconds a request, of each process and place, an arm a column."""
    rows = sorted({where for one in found for where in one.spent})
    lines = [f"{'ms a request':45}" + "".join(f"{one.arm:>12}" for one in found)]
    for process, place in rows:
        ms = [1e3 * one.spent.get((process, place), 0.0) / REQUESTS for one in found]
        if max(ms) >= _LEAST_MS:
            lines.append(f"{process + ': ' + place:45}" + "".join(f"{each:12.1f}" for each in ms))
    return "\n".join(lines)


_LEAST_MS = 0.3
_PATTERNS = {place: re.compile(pattern) for place, pattern in PLACES.items()}


def _place(frames: Sequence[str]) -> str:
    for frame in reversed(frames):
        for place, pattern in _PATTERNS.items():
            if pattern.search(frame):
                return place
    return "elsewhere"


@contextmanager
def _watched(processes: Processes, folder: Path, name: str) -> Iterator[Sequence[tuple[str, Path]]]:
    """Looks on during the block; afterwards there are raw stacks of each process."""
    stacks, spies = [], []
    for process, pid in processes.pids():
        path = folder / f"{name}-{process}-{pid}.txt"
        command = [PY_SPY, "record", "--pid", str(pid), "--rate", str(RATE), "--format", "raw"]
        spies.append(
            subprocess.Popen(
                [*command, "--full-filenames", "--output", str(path)],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        stacks.append((process, path))
    time.sleep(_ATTACHED_WITHIN)
    try:
        yield stacks
    finally:
        for spy in spies:
            spy.send_signal(signal.SIGINT)
        ended = [(spy.communicate()[1], spy.returncode) for spy in spies]
    for said, status in ended:
        if status:
            raise RuntimeError(f"py-spy: {said.strip()[-300:]}")
