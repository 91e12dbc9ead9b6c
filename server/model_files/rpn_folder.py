"""Finds the RPN folder of a model."""

from __future__ import annotations

from pathlib import Path

from rpn_plugin.network.checkpoint import CheckpointError, is_pruned, is_published_model
from server.model_files.hub_names import hub_name


def rpn_folder(model: str, rpn: str | None) -> str:
    """The folder `rpn`; without it, `rpn` inside the model's, or a released model itself.

    Both are folders or names on the Hub (`hf://NAME` cannot be taken for a folder); what is there
    is fetched: an RPN, or a released model. Raises CheckpointError.
    """
    if rpn is not None:
        return _existing(_local(rpn), f"no RPN folder at {rpn}: name one with --rpn PATH")
    inside = Path(model) / "rpn"
    if not inside.is_dir() and (released := _released(model)):
        return _existing(released, f"no folder {released}")
    return _existing(
        inside, f"no RPN for {model}: name its folder with --rpn PATH, or put it into {inside}"
    )


def _existing(folder: Path, otherwise: str) -> str:
    if not folder.is_dir():
        raise CheckpointError(otherwise)
    return str(folder.resolve())


def _local(rpn: str) -> Path:
    """The folder `rpn`, or the downloaded copy of that name on the Hub."""
    name = hub_name(rpn)
    if name is None or Path(rpn).exists():
        return Path(rpn)
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name))
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"no RPN at {rpn}, as a folder or on the Hub: {reason}") from error


def _released(model: str) -> Path | None:
    """The folder of a released model with its RPN, or None if `model` is something else."""
    folder = Path(model) if Path(model).is_dir() else _from_hub(model)
    if folder is None or not is_published_model(folder):
        return None
    if is_pruned(folder):
        raise CheckpointError(
            f"{model} is pruned for training, and no model to answer with: "
            f"sdrpn serve BASE_MODEL --rpn {model}"
        )
    return folder


def _from_hub(model: str) -> Path | None:
    """The whole of a released model; of any other, nothing but its configuration is fetched."""
    from huggingface_hub import hf_hub_download, snapshot_download

    try:
        config = hf_hub_download(model, "config.json")
        if is_published_model(Path(config).parent):
            return Path(snapshot_download(model))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"no model at {model!r}: {str(error).splitlines()[0]}") from error
    return None
