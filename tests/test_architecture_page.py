"""docs/architecture.md names every module of the product, and no module that does not exist."""

from __future__ import annotations

import re
from pathlib import PurePath

from tests.repository import PRODUCT, ROOT, modules

PAGE = ROOT / "docs" / "architecture.md"


def named_modules() -> set[PurePath]:
    """Modules in the first cells of the page's tables; a heading names the folder above each."""
    folder: PurePath | None = None
    named = set()
    for line in PAGE.read_text().splitlines():
        if heading := re.match(r"#+ (?:`([\w/]+)/`)?", line):
            folder = PurePath(heading[1]) if heading[1] else None
        elif folder is not None and line.startswith("|"):
            named |= {folder / name for name in re.findall(r"`([\w/]+\.py)`", line.split("|")[1])}
    return named


def test_the_page_names_every_module_and_no_other() -> None:
    tree = {path for package in PRODUCT for path in modules(package)}
    named = named_modules()
    assert sorted(map(str, tree - named)) == [], "not named in docs/architecture.md"
    assert sorted(map(str, named - tree)) == [], "named in docs/architecture.md, not in the tree"
