"""Where the labels of a run come from, decided once and kept in labels/heads.json."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rpn_plugin.distill.base_model import BaseModel
from rpn_plugin.distill.data.samples import Sample
from rpn_plugin.distill.data.shards import write_json
from rpn_plugin.distill.distributed import Processes
from rpn_plugin.distill.labels.head_search import HeadChoice, find_heads
from rpn_plugin.distill.labels.heads import (
    Source,
    middle_heads,
    parse_heads,
    show_heads,
)
from rpn_plugin.distill.progress import Log
from rpn_plugin.distill.settings import DistillSettings, SettingsError


def choose_source(
    base: BaseModel,
    samples: Sequence[Sample],
    settings: DistillSettings,
    made_with: Mapping[str, Any],
    path: Path,
    processes: Processes,
    log: Log,
) -> Source:
    """The source the settings ask for, found by the first process if they leave it open.

    `made_with`: all that the choice depends on; one that was found with the same is taken again.
    ValueError if the settings name heads that the model does not have.
    """
    layers, heads = len(base.layers), base.heads
    sinking = parse_heads(settings.sink_heads, layers, heads)
    if settings.heads == "auto":
        if processes.first and _read(path).get("found_with") != made_with:
            found_now = find_heads(base, samples, settings, log)
            write_json(path, {"found_with": made_with, **_record(found_now)})
        processes.wait()
        choice = _read(path)
        grounding = parse_heads(choice["grounding"], layers, heads)
        source = Source(grounding, sinking, choice["queries"])
        log.say(f"heads that follow the question: {describe(source)}")
        return source
    named = settings.heads != "middle"
    grounding = parse_heads(settings.heads, layers, heads) if named else middle_heads(layers, heads)
    if not grounding:
        raise SettingsError("no heads to learn from")
    queries = "decode" if settings.queries == "auto" else settings.queries
    if settings.response == "none":
        queries = "prefill"
    if processes.first:
        write_json(path, {"grounding": show_heads(grounding), "queries": queries})
    processes.wait()
    return Source(grounding, sinking, queries)


def recorded_source(path: Path) -> str:
    """The source that was chosen, in words."""
    record = _read(path)
    return f"{record['grounding']} in {record['queries']} rows"


def describe(source: Source) -> str:
    """As `recorded_source`."""
    return f"{show_heads(source.grounding)} in {source.queries} rows"


def _record(choice: HeadChoice) -> dict[str, Any]:
    return {
        "grounding": show_heads(choice.heads),
        "queries": choice.rows,
        "scores": {rows: round(score, 4) for rows, score in choice.scores.items()},
        "added": [
            {"layer": layer, "head": head, "score": round(score, 4)}
            for (layer, head), score in choice.added
        ],
        "alone": [[round(score, 4) for score in layer] for layer in choice.alone.tolist()],
    }


def _read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text())) if path.exists() else {}
