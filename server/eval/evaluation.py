"""An evaluation: asks an endpoint what has no answer yet, and writes the report.

A run that was interrupted goes on when it is started again with the same folder.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from server.eval.benchmarks import Benchmark, Question
from server.eval.conditions import Condition
from server.eval.report import Row, rows_of, write_report
from server.eval.runner import Endpoint, ask_all, read_answers


class OtherRunError(Exception):
    """The folder holds answers of another run; one line says what differs."""


@dataclass(frozen=True)
class Report:
    """A row for each condition, and how many questions got no answer."""

    rows: list[Row]
    failures: int


@dataclass(frozen=True)
class Evaluation:
    """Which questions are asked, of which endpoint, under which conditions.

    `out` holds the answers and the report. `images` is the folder of the pictures (None: beside
    `file`, where the benchmark has them). `limit` takes only the first questions of `file`.
    """

    file: Path
    benchmark: Benchmark
    endpoint: Endpoint
    conditions: Sequence[Condition]
    out: Path
    images: Path | None = None
    limit: int | None = None

    @property
    def results(self) -> Path:
        """The file of answers, one a line."""
        return self.out / "results.jsonl"

    def run(self) -> Report:
        """Asks and writes table.md, report.json and curve.svg.

        Raises QuestionFileError, OtherRunError.
        """
        questions = self.benchmark.questions(self.file, self.images, self.limit)
        self._check_same_run()
        failures = asyncio.run(self._ask(questions))
        ids = {question.id for question in questions}
        answers = [answer for answer in read_answers(self.results) if answer.id in ids]
        rows = rows_of(answers, self.conditions)
        title = f"{self.file.name} ({self.benchmark.name}), {self.endpoint.model}"
        write_report(rows, self.out, title)
        return Report(rows, failures)

    async def _ask(self, questions: Sequence[Question]) -> int:
        """Asks the questions without an answer; how many failed."""
        missing = self._missing(questions)
        failures = 0
        total = sum(len(of_condition) for of_condition in missing.values())
        with tqdm(total=total, unit=" answers", file=sys.stderr) as bar:
            for condition, of_condition in missing.items():
                bar.set_description(condition.name)
                answers = await ask_all(
                    self.endpoint,
                    self.benchmark,
                    of_condition,
                    condition,
                    self.results,
                    lambda _: bar.update(1),
                )
                failures += sum(answer.error is not None for answer in answers)
        return failures

    def _missing(self, questions: Sequence[Question]) -> dict[Condition, list[Question]]:
        """Conditions with the questions that have no answer under them."""
        answered = {(answer.condition, answer.id) for answer in read_answers(self.results)}
        missing = {}
        for condition in self.conditions:
            possible = [question for question in questions if condition.can_ask(question)]
            if not possible:
                print(f"{condition.name}: left out, the file has no boxes", file=sys.stderr)
            left = [q for q in possible if (condition.name, q.id) not in answered]
            if left:
                missing[condition] = left
        return missing

    def _check_same_run(self) -> None:
        """All answers of a folder are to the same file by the same model, or raises."""
        run = {
            "file": str(self.file.resolve()),
            "format": self.benchmark.name,
            "model": self.endpoint.model,
            "max_tokens": self.endpoint.max_tokens,
        }
        self.out.mkdir(parents=True, exist_ok=True)
        marker = self.out / "run.json"
        if not marker.exists():
            marker.write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")
        recorded = json.loads(marker.read_text(encoding="utf-8"))
        for name, value in run.items():
            if recorded.get(name) != value:
                raise OtherRunError(
                    f"{self.out} has answers for {name} {recorded.get(name)!r}, not {value!r}: "
                    "name another folder"
                )
