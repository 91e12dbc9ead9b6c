"""Paths of the repository's files, for tests that read the tree itself."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PRODUCT = ("server", "rpn_plugin")


def modules(package: str) -> list[Path]:
    """The modules of `package` relative to the repository, without `__init__` and `__main__`."""
    paths = (path.relative_to(ROOT) for path in (ROOT / package).rglob("*.py"))
    return sorted(path for path in paths if not path.stem.startswith("__"))


def pages() -> list[Path]:
    """The Markdown pages of the repository."""
    folders = (ROOT, *(ROOT / name for name in ("docs", "deploy", "loadtests", "demo")))
    return sorted(page for folder in folders for page in folder.glob("*.md"))
