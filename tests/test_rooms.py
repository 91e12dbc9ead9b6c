"""The shape of the source tree: small folders, unique module names, imports in one direction."""

from __future__ import annotations

import ast
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from tests.repository import PRODUCT, ROOT, modules

MOST_MODULES = 12

SAME_THING = {
    "deepseek_vl": "families/ declares the family, engine/models/ has its class with a tap",
    "llava": "families/ declares the family, engine/models/ has its class with a tap",
}
"""Stems that two modules of one package may share, with the reason."""

OUTSIDE = {"demo", "loadtests", "tests"}
"""What is not installed: the product must not import it."""


def imported_packages(module: Path) -> set[str]:
    """The top-level packages that `module` imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse((ROOT / module).read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize("package", [*PRODUCT, "loadtests", "demo"])
def test_no_folder_has_too_many_modules(package: str) -> None:
    sizes = Counter(module.parent for module in modules(package))
    assert {str(folder): size for folder, size in sizes.items() if size > MOST_MODULES} == {}


@pytest.mark.parametrize("package", [*PRODUCT, "loadtests", "demo"])
def test_no_two_modules_share_a_name(package: str) -> None:
    by_stem = defaultdict(list)
    for module in modules(package):
        by_stem[module.stem].append(str(module))
    shared = {stem: paths for stem, paths in by_stem.items() if len(paths) > 1}
    assert {stem: paths for stem, paths in shared.items() if stem not in SAME_THING} == {}


@pytest.mark.parametrize("package", PRODUCT)
def test_the_product_imports_nothing_that_is_not_installed(package: str) -> None:
    forbidden = OUTSIDE | ({"server"} if package == "rpn_plugin" else set())
    imports = {str(module): imported_packages(module) & forbidden for module in modules(package)}
    assert {module: names for module, names in imports.items() if names} == {}
