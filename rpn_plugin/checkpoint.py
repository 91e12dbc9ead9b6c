"""Region proposal networks on disk.

Two kinds of folder are read: our own (`rpn.safetensors` beside `rpn_config.json`, layers named as
in Qwen2), and a published SD-RPN model, whose whole checkpoint holds the RPN under
`model.twig_layers.*` with its place in the model (`twig_K`, `twig_T`) in `config.json`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from rpn_plugin.config import RpnConfig
from rpn_plugin.families import family_of_architecture
from rpn_plugin.head import RegionProposalNetwork

WEIGHTS_NAME = "rpn.safetensors"
CONFIG_NAME = "rpn_config.json"
_PUBLISHED_LAYERS = "model.layers."
# What an RPN is made of in a published checkpoint, and what it is here.
_PUBLISHED_PREFIXES = {"model.twig_layers.": "layers.", "model.twig_norm.": "score_norm."}


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
    own = (folder / CONFIG_NAME).is_file()
    with torch.device("meta"):
        rpn = RegionProposalNetwork(config)
    expected = rpn.state_dict()
    tensors = _own_tensors(folder) if own else _published_tensors(folder, set(expected))
    _check_same_tensors(folder, expected, tensors)
    rpn.load_state_dict(tensors, assign=True)
    return rpn


def is_published_model(path: str | Path) -> bool:
    """Whether folder `path` holds a whole model with its RPN, as the paper's authors release it."""
    folder = Path(path)
    if (folder / CONFIG_NAME).is_file() or not (folder / "config.json").is_file():
        return False
    return bool(_read_json(folder / "config.json").get("enable_twig"))


def is_pruned(path: str | Path) -> bool:
    """Whether a published model lacks the layers above its RPN, as it does while it is trained.

    Its RPN is complete, but it is no model to answer with. Raises CheckpointError.
    """
    folder = Path(path)
    config = load_rpn_config(folder)
    kept = set()
    for shard in sorted(folder.glob("*.safetensors")):
        with _opened(shard) as file:
            kept |= {int(name.split(".", 1)[0]) for name in _names_in(file, _PUBLISHED_LAYERS)}
    return len(kept) <= config.tap_layer + config.depth


def is_published_rpn_tensor(name: str) -> bool:
    """Whether a tensor of a published SD-RPN model belongs to the RPN, not to the model."""
    return "twig_" in name


def save_rpn(rpn: RegionProposalNetwork, path: str | Path) -> None:
    """Writes `rpn` to folder `path` (made if need be) in our own format."""
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.contiguous() for name, tensor in rpn.state_dict().items()}
    save_file(tensors, folder / WEIGHTS_NAME)
    text = json.dumps(rpn.config.to_dict(), indent=2)
    (folder / CONFIG_NAME).write_text(text + "\n")


def _own_config(folder: Path) -> RpnConfig:
    try:
        return RpnConfig.from_dict(_read_json(folder / CONFIG_NAME))
    except ValueError as error:
        raise CheckpointError(f"{folder / CONFIG_NAME}: {error}") from error


def _published_config(folder: Path) -> RpnConfig:
    hf_config = _read_json(folder / "config.json")
    if not hf_config.get("enable_twig"):
        raise CheckpointError(f"{folder} is a plain model: its config.json does not enable a twig")
    architecture = next(iter(hf_config.get("architectures") or ["none"]))
    family = family_of_architecture(architecture)
    if family is None:
        raise CheckpointError(f"{folder}: RPNs for architecture {architecture} are not supported")
    try:
        tap_layer, depth = int(hf_config["twig_K"]), int(hf_config["twig_T"])
        return RpnConfig.for_model(hf_config, tap_layer=tap_layer, depth=depth, family=family)
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


def _own_tensors(folder: Path) -> dict[str, Tensor]:
    return dict(_tensors_in(folder / WEIGHTS_NAME, prefix=""))


def _published_tensors(folder: Path, wanted: set[str]) -> dict[str, Tensor]:
    """The twig's tensors; a published last layer is whole, so what no score needs is left out."""
    return {
        f"{ours}{name}": tensor
        for shard in sorted(folder.glob("*.safetensors"))
        for theirs, ours in _PUBLISHED_PREFIXES.items()
        for name, tensor in _tensors_in(shard, theirs)
        if f"{ours}{name}" in wanted
    }


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
    folder: Path, expected: dict[str, Tensor], found: dict[str, Tensor]
) -> None:
    for name in sorted(expected.keys() | found.keys()):
        want = tuple(expected[name].shape) if name in expected else "no such tensor"
        have = tuple(found[name].shape) if name in found else "no such tensor"
        if want != have:
            raise CheckpointError(f"{folder}: {name} should be {want}, the file has {have}")
