"""`sdrpn eval`: how much better a model answers with regions, and at what speed."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
from tqdm import tqdm

from server.eval.benchmarks import BENCHMARKS, Benchmark, Question, QuestionFileError
from server.eval.conditions import KINDS, Condition, conditions
from server.eval.report import rows_of, table, write_report
from server.eval.runner import Answered, Endpoint, ask_all, read_answers


class EvalError(Exception):
    """The evaluation cannot be run; one line says why."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `sdrpn eval`."""
    parser.add_argument("file", type=Path, help="questions and answers")
    parser.add_argument(
        "--format", choices=BENCHMARKS, default="jsonl", help="whose file it is (default: jsonl)"
    )
    parser.add_argument("--images", type=Path, help="folder of pictures; default: beside the file")
    parser.add_argument("--out", type=Path, required=True, help="folder for answers and report")
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="default: %(default)s")
    parser.add_argument("--model", help="default: the first that the endpoint serves")
    parser.add_argument("--api-key", help="if the endpoint wants one")
    parser.add_argument(
        "--conditions", nargs="+", choices=KINDS, default=list(KINDS),
        help="; ".join(f"{kind}: {what}" for kind, what in KINDS.items()) + " (default: all)",
    )  # fmt: skip
    parser.add_argument(
        "--base-tokens", nargs="+", type=int, default=[], metavar="N",
        help="base token budgets to compare (default: the served RPN's)",
    )  # fmt: skip
    parser.add_argument(
        "--in-flight", type=int, default=8, help="questions asked at once (default: %(default)s)"
    )
    parser.add_argument(
        "--max-tokens", type=int, default=64, help="of an answer (default: %(default)s)"
    )
    parser.add_argument("--limit", type=int, help="only the first so many questions")


def run(options: argparse.Namespace) -> int:
    """Asks what is not answered yet and writes the report; 0, or 1 with what went wrong."""
    try:
        return _run(options)
    except (EvalError, QuestionFileError) as error:
        print(f"sdrpn eval: {error}", file=sys.stderr)
        return 1


@dataclass(frozen=True)
class _Cell:
    condition: Condition
    missing: list[Question]


def _run(options: argparse.Namespace) -> int:
    benchmark = BENCHMARKS[options.format]
    questions = benchmark.questions(options.file, options.images)[: options.limit]
    asked = conditions(options.conditions, options.base_tokens)
    endpoint = _endpoint(options)
    _check_same_run(options, endpoint)
    path = options.out / "results.jsonl"
    failed = asyncio.run(_ask(endpoint, benchmark, questions, asked, path))
    wanted = {question.id for question in questions}
    rows = rows_of([a for a in read_answers(path) if a.id in wanted], asked)
    write_report(rows, options.out, f"{options.file.name} ({benchmark.name}), {endpoint.model}")
    print(table(rows), end="")
    print(f"wrote {options.out}/table.md, report.json, curve.svg")
    if failed:
        print(
            f"sdrpn eval: {failed} questions got no answer (errors in {path}); run it again to "
            "ask those",
            file=sys.stderr,
        )
    return int(failed > 0)


async def _ask(
    endpoint: Endpoint,
    benchmark: Benchmark,
    questions: Sequence[Question],
    asked: Sequence[Condition],
    path: Path,
) -> int:
    """Asks what is missing in `path`; how many questions got no answer."""
    there = {(a.condition, a.id) for a in read_answers(path)}
    cells = []
    for condition in asked:
        possible = [q for q in questions if condition.can_ask(q)]
        if not possible:
            print(f"{condition.name}: left out, the file has no boxes", file=sys.stderr)
        cells.append(_Cell(condition, [q for q in possible if (condition.name, q.id) not in there]))
    failed = 0
    total = sum(len(cell.missing) for cell in cells)
    with tqdm(total=total, unit=" answers", file=sys.stderr) as bar:
        for cell in cells:
            bar.set_description(cell.condition.name)

            def seen(answer: Answered) -> None:
                bar.update(1)

            if cell.missing:
                results = await ask_all(
                    endpoint, benchmark, cell.missing, cell.condition, path, seen
                )
                failed += sum(r.error is not None for r in results)
    return failed


def _endpoint(options: argparse.Namespace) -> Endpoint:
    url = options.url.rstrip("/").removesuffix("/v1")
    headers = {"Authorization": f"Bearer {options.api_key}"} if options.api_key else {}
    try:
        answer = httpx.get(f"{url}/v1/models", headers=headers, timeout=30)
        answer.raise_for_status()
        served = answer.json()["data"][0]["id"]
    except (httpx.HTTPError, ValueError, KeyError, IndexError) as error:
        raise EvalError(f"no endpoint answers at {url}: {error}") from error
    model = options.model or served
    return Endpoint(url, model, options.api_key, options.max_tokens, max(1, options.in_flight))


def _check_same_run(options: argparse.Namespace, endpoint: Endpoint) -> None:
    """Answers in a folder are all to the same file by the same model, or they mean nothing."""
    mine = {"file": str(options.file.resolve()), "format": options.format,
            "model": endpoint.model, "max_tokens": options.max_tokens}  # fmt: skip
    options.out.mkdir(parents=True, exist_ok=True)
    marker = options.out / "run.json"
    if not marker.exists():
        marker.write_text(json.dumps(mine, indent=1) + "\n", encoding="utf-8")
    there = json.loads(marker.read_text(encoding="utf-8"))
    for name, value in mine.items():
        if there.get(name) != value:
            raise EvalError(
                f"{options.out} has answers for {name} {there.get(name)!r}, not {value!r}: name "
                "another folder"
            )
