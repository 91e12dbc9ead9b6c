"""The report of an evaluation: one row a condition, as a table, JSON and a curve."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean

from server.eval.conditions import Condition
from server.eval.curve import Point, draw_curve
from server.eval.runner import EvalResult


@dataclass(frozen=True)
class Row:
    """One condition.

    `score` is the mean over questions, `groups` that of each part of the benchmark. `per_second` is
    the throughput in questions, `seconds` the mean end-to-end latency of a question,
    `prompt_tokens` and `regions` are means over questions.
    """

    condition: str
    kind: str
    base_tokens: int | None
    questions: int
    score: float
    groups: dict[str, float]
    per_second: float
    seconds: float
    prompt_tokens: float
    regions: float


def rows_of(answers: Sequence[EvalResult], conditions: Sequence[Condition]) -> list[Row]:
    """A row for each condition that has answers."""
    rows = []
    for condition in conditions:
        of_condition = [a for a in answers if a.condition == condition.name]
        if of_condition:
            rows.append(_row(condition, of_condition))
    return rows


def _row(condition: Condition, answers: Sequence[EvalResult]) -> Row:
    groups = sorted({a.group for a in answers if a.group})
    return Row(
        condition=condition.name,
        kind=condition.kind,
        base_tokens=condition.base_tokens,
        questions=len(answers),
        score=fmean(a.score for a in answers),
        groups={g: fmean(a.score for a in answers if a.group == g) for g in groups},
        per_second=len(answers) / max(_asking_seconds(answers), 1e-9),
        seconds=fmean(a.ended - a.began for a in answers),
        prompt_tokens=fmean(a.prompt_tokens for a in answers),
        regions=fmean(a.regions for a in answers),
    )


def _asking_seconds(answers: Sequence[EvalResult]) -> float:
    """Seconds from first question to last answer, added up over the runs that asked."""
    sessions: dict[str, list[EvalResult]] = {}
    for answer in answers:
        sessions.setdefault(answer.session, []).append(answer)
    return sum(max(a.ended for a in s) - min(a.began for a in s) for s in sessions.values())


def table(rows: Sequence[Row]) -> str:
    """Markdown."""
    groups = list(dict.fromkeys(g for row in rows for g in row.groups))
    head = ["condition", "questions", "score", *groups, "questions/s", "s each", "prompt tokens"]
    head.append("regions")
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        shares = [f"{row.groups[g]:.3f}" if g in row.groups else "" for g in groups]
        cells = [row.condition, str(row.questions), f"{row.score:.3f}", *shares]
        cells += [f"{row.per_second:.2f}", f"{row.seconds:.2f}", f"{row.prompt_tokens:.0f}"]
        lines.append("| " + " | ".join([*cells, f"{row.regions:.2f}"]) + " |")
    return "\n".join(lines) + "\n"


def write_report(rows: Sequence[Row], folder: Path, title: str) -> None:
    """table.md, report.json and curve.svg (accuracy against throughput over budgets)."""
    text = f"# {title}\n\n{table(rows)}"
    (folder / "table.md").write_text(text, encoding="utf-8")
    numbers = {"title": title, "rows": [asdict(row) for row in rows]}
    (folder / "report.json").write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    points = [Point(r.kind, r.per_second, r.score, _budget(r)) for r in rows]
    draw_curve(points, title, folder / "curve.svg")


def _budget(row: Row) -> str:
    return "" if row.base_tokens is None else str(row.base_tokens)
