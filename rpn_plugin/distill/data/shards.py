"""Results in numbered shards on disk: safetensors, a checksum each, resumable, never pickled.

A shard is there or it is not: it is written beside its place, synced, and renamed, and then its
checksum the same way. Whoever finds a shard whose bytes do not match makes it again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor


class OtherSettings(Exception):
    """A folder holds results of other settings; one line says which."""


def write_atomically(path: Path, data: bytes) -> None:
    """`path` holds either what it held or all of `data`, also after a crash."""
    scratch = path.with_name(f".{path.name}.unfinished")
    with scratch.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(scratch, path)


def write_json(path: Path, value: Any) -> None:
    """Indented JSON, atomically."""
    write_atomically(path, (json.dumps(value, indent=1) + "\n").encode())


def save_tensors(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, str]) -> str:
    """A safetensors file with the strings of `about` in its header, atomically; its SHA-256."""
    scratch = path.with_name(f".{path.name}.unfinished")
    save_file({n: t.contiguous() for n, t in tensors.items()}, scratch, metadata=dict(about))
    with scratch.open("rb") as file:
        os.fsync(file.fileno())
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    os.replace(scratch, path)
    return digest


class Shards:
    """`count` shards in `folder`, made with `settings` and no others."""

    def __init__(self, folder: Path, count: int, settings: Mapping[str, Any]) -> None:
        """Raises OtherSettings if the folder has shards made with other settings."""
        self.folder, self.count = folder, count
        folder.mkdir(parents=True, exist_ok=True)
        mine = {**settings, "shards": count}
        marker = folder / "settings.json"
        if marker.exists():
            check_same(folder, json.loads(marker.read_text()), mine)
        else:
            write_json(marker, mine)

    def missing(self) -> list[int]:
        """Numbers of the shards that are not there, or damaged."""
        return [number for number in range(self.count) if not self._is_whole(number)]

    def write(self, number: int, tensors: Mapping[str, Tensor], about: Any = None) -> None:
        """Puts one shard in its place; `about` is JSON that `about` gives back."""
        digest = save_tensors(self.path(number), tensors, {"about": json.dumps(about)})
        write_atomically(self.path(number, ".sha256"), f"{digest}\n".encode())

    def read(self, number: int) -> dict[str, Tensor]:
        """The tensors of one shard."""
        tensors: dict[str, Tensor] = load_file(self.path(number))
        return tensors

    def read_some(self, number: int, names: Sequence[str]) -> dict[str, Tensor]:
        """Only the tensors with these names."""
        with safe_open(self.path(number), framework="pt") as file:
            return {name: file.get_tensor(name) for name in names}

    def about(self, number: int) -> Any:
        """What was written about one shard."""
        with safe_open(self.path(number), framework="pt") as file:
            return json.loads(file.metadata()["about"])

    def path(self, number: int, suffix: str = ".safetensors") -> Path:
        """The file of one shard, or the one beside it."""
        return self.folder / f"{number:05d}{suffix}"

    def _is_whole(self, number: int) -> bool:
        path, checksum = self.path(number), self.path(number, ".sha256")
        if not (path.exists() and checksum.exists()):
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == checksum.read_text().strip()


def check_same(folder: Path, there: Mapping[str, Any], mine: Mapping[str, Any]) -> None:
    """Raises OtherSettings naming the first setting that differs."""
    for name in sorted(there.keys() | mine.keys()):
        if there.get(name) != mine.get(name):
            raise OtherSettings(
                f"{folder} was made with {name} {there.get(name)!r}, now it is "
                f"{mine.get(name)!r}: name another folder, or remove this one"
            )
