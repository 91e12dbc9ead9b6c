"""Prints the installed packages that serving does not need: the lock holds those of tests as well.

Needed is what pyproject.toml names, with the extras asked for, and what those packages name in
turn, as their metadata says for this machine. Run it with the environment's own Python.
"""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PYPROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"


def unneeded(extras: Iterable[str]) -> list[str]:
    """Names of the installed packages that sdrpn with `extras` never asks for."""
    project = tomllib.loads(PYPROJECT.read_text())["project"]
    optional = project["optional-dependencies"]
    roots = [*project["dependencies"], *(line for extra in extras for line in optional[extra])]
    needed = closure(Requirement(line) for line in roots)
    installed = {canonicalize_name(package.name) for package in metadata.distributions()}
    return sorted(installed - needed)


def closure(roots: Iterable[Requirement]) -> set[str]:
    """Names of the packages that `roots` ask for, themselves included, as far as installed."""
    seen: set[tuple[str, str]] = set()
    waiting = [(canonicalize_name(root.name), extra) for root in roots for extra in _extras(root)]
    while waiting:
        package = waiting.pop()
        if package in seen:
            continue
        seen.add(package)
        waiting += _asked_for_by(*package)
    return {name for name, _ in seen}


def _asked_for_by(name: str, extra: str) -> list[tuple[str, str]]:
    try:
        lines = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return []  # the lock leaves it out: see the head of cpu.lock
    requirements = [Requirement(line) for line in lines]
    return [
        (canonicalize_name(requirement.name), wanted)
        for requirement in requirements
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra})
        for wanted in _extras(requirement)
    ]


def _extras(requirement: Requirement) -> list[str]:
    return ["", *requirement.extras]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--extra", action="append", default=[])
    print(*unneeded(parser.parse_args().extra), sep="\n")
