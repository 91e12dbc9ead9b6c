"""`sdrpn eval`: measures accuracy and speed of a running endpoint, with and without zoom."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from server.cli import endpoint_arguments
from server.eval.benchmarks import BENCHMARKS
from server.eval.conditions import KINDS


def main(arguments: Sequence[str]) -> int:
    """Ask what is not answered yet and write the report; 0, or 1 with what went wrong."""
    options = _parser().parse_args(arguments)
    from server.client import Client, EndpointError
    from server.eval.benchmarks import QuestionFileError
    from server.eval.conditions import conditions
    from server.eval.evaluation import Evaluation, OtherRunError
    from server.eval.report import table
    from server.eval.runner import Endpoint

    try:
        url = options.url.rstrip("/").removesuffix("/v1")
        model = Client(url, options.api_key, options.model).model
        evaluation = Evaluation(
            options.file,
            BENCHMARKS[options.format],
            Endpoint(url, model, options.api_key, options.max_tokens, options.in_flight),
            conditions(options.conditions, options.base_tokens),
            options.out,
            options.images,
            options.limit,
        )
        report = evaluation.run()
    except (EndpointError, OtherRunError, QuestionFileError) as error:
        print(f"sdrpn eval: {error}", file=sys.stderr)
        return 1
    print(table(report.rows), end="")
    print(f"wrote {options.out}/table.md, report.json, curve.svg")
    if report.failures:
        print(
            f"sdrpn eval: {report.failures} questions got no answer (errors in "
            f"{evaluation.results}); run it again to ask those",
            file=sys.stderr,
        )
    return int(report.failures > 0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sdrpn eval", description=__doc__)
    parser.add_argument("file", type=Path, help="questions and answers")
    parser.add_argument(
        "--format", choices=BENCHMARKS, default="jsonl", help="whose file it is (default: jsonl)"
    )
    parser.add_argument("--images", type=Path, help="folder of pictures; default: beside the file")
    parser.add_argument("--out", type=Path, required=True, help="folder for answers and report")
    endpoint_arguments.add_arguments(parser)
    parser.add_argument(
        "--conditions", nargs="+", choices=KINDS, default=list(KINDS),
        help="; ".join(f"{kind}: {what}" for kind, what in KINDS.items()) + " (default: all)",
    )  # fmt: skip
    parser.add_argument(
        "--base-tokens", nargs="+", type=int, default=[], metavar="N",
        help="base token budgets to compare (default: the served RPN's)",
    )  # fmt: skip
    parser.add_argument(
        "--in-flight", type=_count, default=8, metavar="N",
        help="questions in flight (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--max-tokens", type=_count, default=64, metavar="N",
        help="of an answer (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--limit", type=_count, metavar="N", help="ask only the first N questions")
    return parser


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not 1 or more")
    return number
