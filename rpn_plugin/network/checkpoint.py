"""Region proposal networks on disk, and the learned gates beside them.

Two kinds of folder are read: our own (`rpn.safetensors` beside `rpn_config.json`, layers named as
in Qwen2; `gate.safetensors` if there is a learned gate), and a released model, whose checkpoint
holds RPN and gate beside the model's layers (`layouts.py`), or those alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from rpn_plugin.network import layouts
from rpn_plugin.network.config import RpnConfig
from rpn_plugin.network.learned_gate import LearnedGate
from rpn_plugin.network.rpn import RegionProposalNetwork

WEIGHTS_NAME = "rpn.safetensors"
GATE_NAME = "gate.safetensors"
CONFIG_NAME = "rpn_config.json"
_PICKLES = ("*.pt", "*.pth", "*.bin")


class CheckpointError(Exception):
    """A folder does not hold a readable RPN; the message is one line and names the folder."""


def load_rpn_config(path: str | Path) -> RpnConfig:
    """The configuration of the RPN in folder `path`, without its weights.

    Raises CheckpointError.
    """
    folder = Path(path)
    if (folder / CONFIG_NAME).is_file():
        return _own_config(folder)
    if (folder / "config.json").is_file():
        return _published_config(folder)
    raise CheckpointError(f"no RPN in {folder}: neither {CONFIG_NAME} nor config.json is there")


def load_rpn(path: str | Path) -> RegionProposalNetwork:
    """The RPN in folder `path`, on the CPU, in the dtype it was saved in.

    Raises CheckpointError.
    """
    folder = Path(path)
    config = load_rpn_config(folder)
    with torch.device("meta"):
        rpn = RegionProposalNetwork(config)
    _fill(rpn, folder, WEIGHTS_NAME, layouts.rpn_prefixes())
    return rpn


def load_gate(path: str | Path) -> LearnedGate | None:
    """The learned gate in folder `path`, as `load_rpn` loads the RPN; None if there is none.

    Raises CheckpointError.
    """
    folder = Path(path)
    config = load_rpn_config(folder)
    if not config.gate_layers:
        return None
    with torch.device("meta"):
        gate = LearnedGate(config)
    _fill(gate, folder, GATE_NAME, layouts.gate_prefixes())
    return gate


def is_published_model(path: str | Path) -> bool:
    """Whether folder `path` holds a whole model with its RPN, as the paper's authors release it."""
    folder = Path(path)
    if (folder / CONFIG_NAME).is_file() or not (folder / "config.json").is_file():
        return False
    return layouts.holds_rpn(_read_json(folder / "config.json"))


def is_pruned(path: str | Path) -> bool:
    """Whether a published model lacks the layers above its RPN, as it does while it is trained.

    Its RPN is complete, but it is no model to answer with. Raises CheckpointError.
    """
    folder = Path(path)
    config = load_rpn_config(folder)
    kept = set()
    for shard in sorted(folder.glob("*.safetensors")):
        with _opened(shard) as file:
            kept |= layouts.layers_of_model(file.keys())
    return len(kept) <= config.tap_layer + config.depth


def save_rpn(rpn: RegionProposalNetwork, path: str | Path, gate: LearnedGate | None = None) -> None:
    """Writes `rpn` to folder `path` (made if need be) in our own format, with its learned gate;
    without `gate`, it has none.

    ValueError if the configuration is of a gate of another depth.
    """
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    config = rpn.config
    if gate is None:
        config = replace(config, gate_layers=0, gate_min_probability=0.0)
        (folder / GATE_NAME).unlink(missing_ok=True)
    elif gate.config.gate_layers != config.gate_layers:
        raise ValueError(f"the RPN is to have a gate of {config.gate_layers} layers")
    else:
        save_file(_tensors_of(gate), folder / GATE_NAME)
    save_file(_tensors_of(rpn), folder / WEIGHTS_NAME)
    text = json.dumps(config.to_dict(), indent=2)
    (folder / CONFIG_NAME).write_text(text + "\n")


def _tensors_of(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.contiguous() for name, tensor in module.state_dict().items()}


def _own_config(folder: Path) -> RpnConfig:
    try:
        return RpnConfig.from_dict(_read_json(folder / CONFIG_NAME))
    except ValueError as error:
        raise CheckpointError(f"{folder / CONFIG_NAME}: {error}") from error


def _published_config(folder: Path) -> RpnConfig:
    try:
        return layouts.released_config(_read_json(folder / "config.json"))
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{folder / 'config.json'}: {error}") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"cannot read {path}: {error}") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} does not hold an object")
    return values


def _fill(module: nn.Module, folder: Path, own_file: str, published: dict[str, str]) -> None:
    """Puts its tensors into a module without any: from `own_file`, or those a published checkpoint
    has under the prefixes `published`.
    """
    expected = module.state_dict()
    if (folder / CONFIG_NAME).is_file():
        tensors = dict(_tensors_in(folder / own_file, prefix=""))
    else:
        tensors = _published_tensors(folder, set(expected), published)
    _check_same_tensors(folder, expected, tensors)
    module.load_state_dict(tensors, assign=True)


def _published_tensors(
    folder: Path, names: set[str], prefixes: dict[str, str]
) -> dict[str, Tensor]:
    """A published last layer of an RPN is whole, so what no score needs is left out."""
    tensors = {
        f"{ours}{name}": tensor
        for shard in sorted(folder.glob("*.safetensors"))
        for theirs, ours in prefixes.items()
        for name, tensor in _tensors_in(shard, theirs)
        if f"{ours}{name}" in names
    }
    if not tensors:
        _refuse_pickles(folder)
    return tensors


def _refuse_pickles(folder: Path) -> None:
    """Names a pickle where the RPN's tensors may be: to read one can run anybody's code."""
    for pattern in _PICKLES:
        for file in sorted(folder.glob(pattern)):
            raise CheckpointError(
                f"{folder}: no RPN in its safetensors files, and {file.name} is a pickle, which is "
                "not read because it can run code; save its tensors as safetensors"
            )


def _tensors_in(path: Path, prefix: str) -> Iterator[tuple[str, Tensor]]:
    """Names without `prefix`, and tensors, of the entries of one file that begin with it."""
    with _opened(path) as file:
        for name in _names_in(file, prefix):
            yield name, file.get_tensor(prefix + name)


def _names_in(file: Any, prefix: str) -> list[str]:
    names = list(file.keys())
    return [name.removeprefix(prefix) for name in names if name.startswith(prefix)]


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot read {path}: {error}") from error


def _check_same_tensors(
    folder: Path, expected: dict[str, Tensor], actual: dict[str, Tensor]
) -> None:
    for name in sorted(expected.keys() | actual.keys()):
        want = tuple(expected[name].shape) if name in expected else "no such tensor"
        have = tuple(actual[name].shape) if name in actual else "no such tensor"
        if want != have:
            raise CheckpointError(f"{folder}: {name} should be {want}, the file has {have}")
