"""Lets PyPI's torchvision (a CUDA build) import beside a CPU build of torch.

torchvision registers fake kernels for its compiled operators when it is imported. Beside a torch
that its extension cannot load into, the operators do not exist and the import fails with "operator
torchvision::nms does not exist". We need none of them, only its Python image transforms, so their
schemas are declared just before torchvision is imported. Where the compiled operators load, nothing
is done.

vLLM imports torchvision in every process it starts, before its plugins are loaded. So the hook is
installed by a `.pth` file in the environment: `python -m rpn_plugin.torchvision_ops` writes it.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_PTH_NAME = "sdrpn_torchvision_ops.pth"
# A .pth outlives the package it points to; an environment without sdrpn must still start.
_PTH_LINE = (
    "import importlib.util as u; "
    "u.find_spec('rpn_plugin') and __import__('rpn_plugin.torchvision_ops')"
    ".torchvision_ops.install_hook()\n"
)


class _DeclareOperatorsFirst(importlib.abc.MetaPathFinder):
    """Runs once, when torchvision is about to be imported; it never finds a module itself."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname == "torchvision":
            sys.meta_path.remove(self)
            _declare_missing_operators()
        return None


def install_hook() -> None:
    """Arrange for the missing operators to be declared when torchvision is imported."""
    hooked = any(isinstance(finder, _DeclareOperatorsFirst) for finder in sys.meta_path)
    if not hooked and "torchvision" not in sys.modules:
        sys.meta_path.insert(0, _DeclareOperatorsFirst())


def pth_path() -> Path:
    """Where the `.pth` file of this environment belongs."""
    return Path(sysconfig.get_path("purelib")) / _PTH_NAME


def _declare_missing_operators() -> None:
    import torch

    if _compiled_operators_load(torch):
        return
    library = torch.library.Library("torchvision", "FRAGMENT")
    for schema in _SCHEMAS:
        library.define(schema)
    # The registration lives as long as the Library object does.
    torch._sdrpn_torchvision_library = library  # type: ignore[attr-defined]


def _compiled_operators_load(torch: ModuleType) -> bool:
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return True  # no torchvision: nothing to declare
    for extension in Path(spec.origin).parent.glob("_C*.so"):
        try:
            torch.ops.load_library(str(extension))
        except OSError:
            return False
        return True
    return False


if __name__ == "__main__":
    pth_path().write_text(_PTH_LINE)
    print(f"wrote {pth_path()}")
