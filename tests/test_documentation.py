"""The pages are short, their links lead somewhere, and every picture is shown by a page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.repository import ROOT, pages

PAGES = pages()
LONGEST_README = 150
LONGEST_LINE = 110
LONGEST_CELL = 200


def name(page: Path) -> str:
    """The page's path in the repository."""
    return str(page.relative_to(ROOT))


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to the page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.M)
    kept = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.strip().replace(" ", "-") for heading in kept}


def links(page: Path) -> Iterator[tuple[Path, str]]:
    """The file and the anchor of every link and picture that stays in the repository."""
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if not re.match(r"\w+:", target):
            path, _, anchor = target.partition("#")
            yield (page.parent / unquote(path)).resolve() if path else page, anchor


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= LONGEST_README


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_lines_and_table_cells_are_short(page: Path) -> None:
    lines = page.read_text().splitlines()
    prose = [line for line in lines if not line.startswith("|")]
    cells = [cell for line in lines if line.startswith("|") for cell in line.split("|")]
    assert [line for line in prose if len(line) > LONGEST_LINE] == []
    assert [cell for cell in cells if len(cell.strip()) > LONGEST_CELL] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    for path, anchor in links(page):
        assert path.exists(), f"{name(page)} links to {path}"
        assert not anchor or path.suffix != ".md" or anchor in anchors(path), f"{path}#{anchor}"


def test_every_picture_of_the_documentation_is_shown_or_used() -> None:
    pictures = {path for path in (ROOT / "docs").iterdir() if path.suffix in {".png", ".webp"}}
    shown = {path for page in PAGES for path, _ in links(page)}
    # The README's example asks about this one.
    assert pictures - shown - {ROOT / "docs" / "page.png"} == set()
