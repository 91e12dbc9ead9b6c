"""The record of how the shipped model was made: `model/recipe.json`.

Each stage of training has a digest. It covers the stage's settings, the digest of the stage before
it, and the code of the stage's module and of every module of `demo` that it imports. Docstrings,
comments, imports and command lines (`main`) are left out of the code. So prose can change and
modules can move; a function of another package that gets a new name can be imported under its old
one.

A digest does not cover code outside `demo`. The third stage is `sdrpn distill`: its digest covers
the pages, the settings, and the labels that `pseudo_labels` makes of a fixed map, but not the code
that trains.

The record also has the SHA-256 of every other file of the model's folder. Only `python -m
demo.train` writes it, after training. A unit test compares it with the tree.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

RECIPE = "recipe.json"


class OtherRecipe(Exception):
    """A folder has results of another recipe; the message names the folder and the stage."""


@dataclass(frozen=True)
class StageRecipe:
    """One stage: the digest of everything that it depends on, and its settings to be read."""

    sha256: str
    settings: Mapping[str, Any]


def stage_recipe(
    module: str, settings: Mapping[str, Any], before: StageRecipe | None = None
) -> StageRecipe:
    """The recipe of the stage that `module` runs, after the stage `before`."""
    code = sorted(_code_digest(source) for source in _modules(module).values())
    depends_on = [settings, code, before.sha256 if before else None]
    return StageRecipe(_digest(json.dumps(depends_on, sort_keys=True)), settings)


def claim(runs: Path, stage: str, recipe: StageRecipe) -> None:
    """Marks the checkpoints of a stage in `runs` as those of `recipe`.

    Raises OtherRecipe if they are another's: a run must not go on with other code or settings.
    """
    path = runs / f"{stage}.recipe"
    if path.exists() and path.read_text() != recipe.sha256:
        raise OtherRecipe(f"{runs} has a {stage} stage of another recipe: remove it, or use --runs")
    runs.mkdir(parents=True, exist_ok=True)
    path.write_text(recipe.sha256)


def write_record(model: Path, stages: Mapping[str, StageRecipe]) -> None:
    """Writes the record of a model folder that is complete."""
    record = {
        "stages": {name: asdict(stage) for name, stage in stages.items()},
        "files": file_digests(model),
    }
    (model / RECIPE).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def recorded_stages(model: Path) -> dict[str, str]:
    """The digests of the stages that made this model, by name."""
    stages = read_record(model)["stages"]
    return {name: stage["sha256"] for name, stage in stages.items()}


def read_record(model: Path) -> dict[str, Any]:
    """The whole record: `stages` and `files`."""
    record: dict[str, Any] = json.loads((model / RECIPE).read_text(encoding="utf-8"))
    return record


def file_digests(model: Path) -> dict[str, str]:
    """The SHA-256 of every file of a model folder but the record, by path."""
    files = sorted(path for path in model.rglob("*") if path.is_file() and path.name != RECIPE)
    return {
        path.relative_to(model).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def _modules(name: str) -> dict[str, ast.Module]:
    """The module `name` and every module of its package that it imports, directly or not."""
    package = name.partition(".")[0]
    modules: dict[str, ast.Module] = {}
    names = [name]
    while names:
        current = names.pop()
        if current in modules:
            continue
        modules[current] = ast.parse(_source(current))
        names += [n for n in _imports(modules[current]) if n.startswith(f"{package}.")]
    return modules


def _source(module: str) -> str:
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(module)
    return Path(spec.origin).read_text(encoding="utf-8")


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


def _code_digest(tree: ast.Module) -> str:
    return _digest(json.dumps(_plain(tree)))


def _plain(node: Any) -> Any:
    """A syntax tree as lists, the same for every supported Python: without empty fields, of which
    newer ones have more."""
    if isinstance(node, ast.AST):
        fields = [(name, value) for name, value in ast.iter_fields(node) if value not in (None, [])]
        return [type(node).__name__, *([name, _plain(value)] for name, value in fields)]
    if isinstance(node, Sequence) and not isinstance(node, str | bytes):
        return [_plain(item) for item in node if not _is_left_out(item)]
    return repr(node)


def _is_left_out(node: Any) -> bool:
    """Whether a statement decides nothing of what is trained."""
    match node:
        case ast.Import() | ast.ImportFrom() | ast.FunctionDef(name="main"):
            return True
        case ast.Expr(value=ast.Constant(value=str())):
            return True
        case ast.If(test=ast.Compare(left=ast.Name(id="__name__"))):
            return True
    return False


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
