"""The second step: an RPN, or a gate, learns the labels. Killed at any moment, it goes on to the
same weights.

Nothing is random but the order of questions, which the seed and the step decide; so a checkpoint
is the weights, AdamW's two moments and the step, in one file that is replaced in one go.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from tensorboardX import SummaryWriter
from torch import Tensor, nn

from rpn_plugin.distill.data.batches import chunks
from rpn_plugin.distill.data.shards import check_same, save_tensors
from rpn_plugin.distill.data.states import StateBatch, States
from rpn_plugin.distill.distributed import Processes
from rpn_plugin.distill.progress import Log
from rpn_plugin.distill.settings import DistillSettings
from rpn_plugin.distill.train.loss import label_loss
from rpn_plugin.network.rpn import RegionProposalNetwork

CHECKPOINT = "checkpoint.safetensors"


Loss = Callable[[Any, StateBatch, Sequence[Tensor], bool], tuple[Tensor, int, Tensor]]
"""What a module has yet to learn about a batch with these labels, in bfloat16 or not: the summed
loss, over how many labels, and how many of them the module gets right.
"""


@dataclass(frozen=True)
class Task:
    """What is to be learnt: labels by sample number, over `states` of them.

    An RPN's labels are int8 [rows, cols], a gate's float32 [].
    """

    labels: Mapping[int, Tensor]
    states: States
    loss: Loss


def train(
    module: nn.Module,
    task: Task,
    folder: Path,
    settings: DistillSettings,
    about: Mapping[str, Any],
    processes: Processes,
    log: Log,
) -> None:
    """Trains `module` in place, from the checkpoint in `folder` if there is one.

    `about` is all that the result depends on; OtherSettings is raised if the checkpoint was made
    with anything else.
    """
    module.to(processes.device)
    numbers = sorted(task.labels)
    order = question_order(numbers, settings.epochs, settings.seed)
    steps = chunks(order, settings.batch)
    optimizer = torch.optim.AdamW(
        module.parameters(),
        lr=settings.lr,
        betas=(settings.beta1, settings.beta2),
        weight_decay=settings.weight_decay,
    )
    checkpoint = Checkpoint(folder, module, optimizer, {**about, "steps": len(steps)})
    done = checkpoint.load()
    if done == len(steps):
        return
    writer = SummaryWriter(str(folder), purge_step=done) if processes.first else None
    bar = log.bar(f"training ({len(numbers)} questions)", len(order), done * settings.batch)
    batches = task.states.batches(_micro_batches(steps[done:], settings, processes))
    saved = time.monotonic()
    for step in range(done, len(steps)):
        mine = _mine(steps[step], processes)
        rate = settings.lr * rate_share(step, len(steps), settings)
        for group in optimizer.param_groups:
            group["lr"] = rate
        numbers_now = _learn(module, optimizer, task, batches, mine, settings, processes)
        bar.update(len(steps[step]))
        bar.set_postfix(loss=f"{numbers_now['loss']:.4f}", refresh=False)
        if writer:
            for name, value in {**numbers_now, "rate": rate}.items():
                writer.add_scalar(f"train/{name}", value, step)
        last = step + 1 == len(steps)
        if processes.first and (last or time.monotonic() - saved >= settings.checkpoint_seconds):
            checkpoint.save(step + 1)
            saved = time.monotonic()
    bar.close()
    if writer:
        writer.close()
    processes.wait()


def question_order(numbers: Sequence[int], epochs: float, seed: int) -> list[int]:
    """Every epoch all sample numbers in an order of its own; the last epoch may be a part."""
    order: list[int] = []
    for epoch in range(math.ceil(epochs)):
        shuffler = torch.Generator().manual_seed(1_000_003 * seed + epoch)
        order += [numbers[i] for i in torch.randperm(len(numbers), generator=shuffler).tolist()]
    return order[: max(1, round(epochs * len(numbers)))]


def rate_share(step: int, steps: int, settings: DistillSettings) -> float:
    """The share of the highest rate at a step: a rising line, then half a cosine down to 0.

    transformers has the same curve as a scheduler, whose state would have to be kept and put back;
    a function of the step alone gives a resumed run the same rates to the bit.
    """
    rising = math.ceil(settings.warmup * steps)
    if step < rising:
        return step / rising
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))


def logits_on_grids(rpn: RegionProposalNetwork, batch: StateBatch, bfloat16: bool) -> list[Tensor]:
    """RoI maps float32 [rows, cols] of a batch."""
    tapped, cells = batch.tapped, batch.cells
    device = tapped.hidden.device.type
    with torch.autocast(device, torch.bfloat16, enabled=bfloat16):
        scores = rpn(tapped.hidden.float(), tapped.positions, tapped.query_index)
    return [
        scores[place, cells[place, : rows * cols]].reshape(rows, cols)
        for place, (rows, cols) in enumerate(batch.grids)
    ]


def map_loss(
    rpn: RegionProposalNetwork, batch: StateBatch, labels: Sequence[Tensor], bfloat16: bool
) -> tuple[Tensor, int, Tensor]:
    """An RPN's Loss; a cell counts alike in whichever map it is."""
    maps = logits_on_grids(rpn, batch, bfloat16)
    loss, cells = label_loss(maps, labels)
    hits = [((m > 0) == (t == 1))[t >= 0].sum() for m, t in zip(maps, labels, strict=True)
            if m.shape == t.shape]  # fmt: skip
    return loss, cells, sum(hits, torch.zeros((), device=loss.device))


class Checkpoint:
    """Weights, moments and step in one file."""

    def __init__(
        self,
        folder: Path,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        about: Mapping[str, Any],
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path, self._about = folder / CHECKPOINT, json.loads(json.dumps(about))
        self._parameters, self._optimizer = dict(module.named_parameters()), optimizer

    def save(self, done: int) -> None:
        """Replaces the checkpoint."""
        tensors = {f"weight.{name}": p.detach() for name, p in self._parameters.items()}
        for name, parameter in self._parameters.items():
            state = self._optimizer.state[parameter]
            tensors |= {f"{moment}.{name}": state[moment] for moment in _MOMENTS}
        about = {"done": str(done), "about": json.dumps(self._about)}
        save_tensors(self._path, {n: t.cpu() for n, t in tensors.items()}, about)

    @torch.no_grad()
    def load(self) -> int:
        """Puts everything back; the steps that are done, 0 without a checkpoint."""
        if not self._path.exists():
            return 0
        with safe_open(self._path, framework="pt") as file:
            header = file.metadata()
            check_same(self._path, json.loads(header["about"]), self._about)
            done = int(header["done"])
            for name, parameter in self._parameters.items():
                parameter.copy_(file.get_tensor(f"weight.{name}"))
                self._optimizer.state[parameter] = {
                    "step": torch.tensor(float(done)),
                    **{m: file.get_tensor(f"{m}.{name}").to(parameter.device) for m in _MOMENTS},
                }
        return done


_MOMENTS = ("exp_avg", "exp_avg_sq")


def _mine(batch: Sequence[int], processes: Processes) -> Sequence[int]:
    return batch[processes.rank :: processes.count]


def _micro_batches(
    steps: Sequence[Sequence[int]], settings: DistillSettings, processes: Processes
) -> list[Sequence[int]]:
    return [part for step in steps for part in chunks(_mine(step, processes), settings.micro_batch)]


def _learn(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    task: Task,
    batches: Any,
    mine: Sequence[int],
    settings: DistillSettings,
    processes: Processes,
) -> dict[str, float]:
    """One step. The loss is the mean over all labels of the step, on whichever process or in
    whichever part of the batch they are: so neither changes what is learnt."""
    device = processes.device
    total, seen, right = (torch.zeros((), device=device) for _ in range(3))
    for _ in chunks(mine, settings.micro_batch):
        batch = next(batches)
        labels = [task.labels[n].to(device) for n in batch.numbers]
        loss, count, hits = task.loss(module, batch, labels, settings.precision == "bfloat16")
        loss.backward()
        total, seen, right = total + loss.detach(), seen + count, right + hits
    parameters = list(module.parameters())
    for parameter in parameters:
        if parameter.grad is None:  # a process without questions in this step
            parameter.grad = torch.zeros_like(parameter)
    processes.add([*(p.grad for p in parameters if p.grad is not None), total, seen, right])
    for parameter in parameters:
        assert parameter.grad is not None
        parameter.grad /= seen
    norm = nn.utils.clip_grad_norm_(parameters, settings.clip)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return {
        "loss": (total / seen).item(),
        "right": (right / seen).item(),
        "gradient_norm": norm.item(),
    }
