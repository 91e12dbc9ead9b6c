"""The product imports nothing of its load tests, its demo or its tests."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OUTSIDE = {"loadtests", "demo", "tests"}


@pytest.mark.parametrize("package", ["server", "rpn_plugin"])
def test_the_product_does_not_import_what_is_not_installed(package: str) -> None:
    imports = {
        f"{file.relative_to(ROOT)}: {name}"
        for file in (ROOT / package).rglob("*.py")
        for name in _imported(file)
        if name.split(".")[0] in OUTSIDE
    }
    assert imports == set()


def _imported(file: Path) -> list[str]:
    names: list[str] = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.append(node.module)
    return names
