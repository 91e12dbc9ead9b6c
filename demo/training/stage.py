"""One stage of training: numbered steps, a checkpoint and a log.

A stage can be killed at any time and resumes from its last checkpoint; a finished stage is not run
again. Its files are `STAGE.pt` and `STAGE.log` in one folder.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn


class Optimizers:
    """Muon for the matrices of the network, AdamW for everything else, one schedule for both."""

    def __init__(
        self, modules: nn.Module, *, muon: float = 0.01, adamw: float = 1.5e-3, matrices: str
    ) -> None:
        """Muon trains the matrices of `modules` whose names contain `matrices`."""
        chosen: list[nn.Parameter] = []
        rest: list[nn.Parameter] = []
        for name, parameter in modules.named_parameters():
            if not parameter.requires_grad:
                continue
            (chosen if parameter.ndim == 2 and matrices in name else rest).append(parameter)
        self._rates = (muon, adamw)
        self._optimizers: tuple[torch.optim.Optimizer, ...] = (
            torch.optim.Muon(chosen, lr=muon, weight_decay=0.01),
            torch.optim.AdamW(rest, lr=adamw, betas=(0.9, 0.98), weight_decay=0.01),
        )
        self._parameters = chosen + rest

    def step(self, share_done: float) -> None:
        """Updates at the rate for `share_done` of the stage, and clears the gradients."""
        nn.utils.clip_grad_norm_(self._parameters, 1.0)
        for optimizer, rate in zip(self._optimizers, self._rates, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate * schedule(share_done)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def state_dict(self) -> list[dict[str, Any]]:
        """State of both optimizers."""
        return [o.state_dict() for o in self._optimizers]

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        """Restores what `state_dict` gave."""
        for optimizer, state in zip(self._optimizers, states, strict=True):
            optimizer.load_state_dict(state)


def schedule(share_done: float) -> float:
    """Warm-up over the first 2 %, full rate until half, then a cosine down to 2 %."""
    if share_done < 0.02:
        return (share_done + 0.001) / 0.021
    if share_done < 0.5:
        return 1.0
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (share_done - 0.5) / 0.5))


class Stage:
    """Runs `step(number)` for each number in [0, steps), saving `parts` once a minute."""

    def __init__(
        self,
        name: str,
        folder: Path,
        steps: int,
        parts: Mapping[str, Any],
        *,
        save_every: float = 60.0,
        report_every: float = 20.0,
    ) -> None:
        self._save_every, self._report_every = save_every, report_every
        folder.mkdir(parents=True, exist_ok=True)
        self.name, self.steps, self._parts = name, steps, parts
        self._file = folder / f"{name}.pt"
        self._log_file = folder / f"{name}.log"
        self.done = self._load()

    def _load(self) -> int:
        if not self._file.exists():
            return 0
        state = torch.load(self._file, weights_only=True)
        for key, part in self._parts.items():
            part.load_state_dict(state[key])
        return int(state["step"])

    def _save(self) -> None:
        state = {key: part.state_dict() for key, part in self._parts.items()}
        scratch = self._file.with_suffix(".tmp")
        torch.save({**state, "step": self.done}, scratch)
        os.replace(scratch, self._file)

    def log(self, text: str) -> None:
        """Prints a line and appends it to the log."""
        line = f"{time.strftime('%H:%M:%S')} {self.name} {text}"
        print(line, flush=True)
        with self._log_file.open("a", encoding="utf-8") as log:
            log.write(line + "\n")

    def run(self, step: Callable[[int], dict[str, float]]) -> None:
        """Runs the remaining steps; the log averages the numbers that `step` returns."""
        if self.done >= self.steps:
            self.log(f"is finished ({self.steps} steps)")
            return
        began, first = time.monotonic(), self.done
        reported = saved = began
        sums: dict[str, list[float]] = {}
        while self.done < self.steps:
            for key, value in step(self.done).items():
                sums.setdefault(key, []).append(value)
            self.done += 1
            now = time.monotonic()
            if now - reported >= self._report_every or self.done == self.steps:
                left = (now - began) / (self.done - first) * (self.steps - self.done)
                means = "  ".join(f"{k} {sum(v) / len(v):.3f}" for k, v in sums.items())
                self.log(f"{self.done}/{self.steps}, {left / 60:.1f} min left  {means}")
                reported, sums = now, {}
            if now - saved >= self._save_every or self.done == self.steps:
                self._save()
                saved = now
