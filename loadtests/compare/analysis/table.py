"""The report as text."""

from __future__ import annotations

from collections.abc import Iterator

from loadtests.compare.analysis.report import Percentiles, Report, Row
from loadtests.compare.cpu import API, CORE, WORKER

NONE = "–"
_HEAD = (
    f"{'':22}{'req/s':>7}{'TTFT ms':>14}{'TPOT ms':>13}{'E2E latency ms':>16}{'prefilled':>11}"
    f"{'cached':>8}{'correct':>9}{'api':>6}{'core':>6}{'worker':>8}  {'÷ plain':18}{'limit':>6}"
    f"{'of it':>7}"
)


def table(report: Report) -> str:
    """A table for each setting and concurrency; times are p50 / p95.

    `api`, `core` and `worker` are CPU milliseconds of a request in the server's processes.
    """
    lines: list[str] = []
    for setting, concurrency in dict.fromkeys((r.setting, r.concurrency) for r in report.rows):
        rows = [r for r in report.rows if (r.setting, r.concurrency) == (setting, concurrency)]
        decoded = rows[0].tokens.decoded
        lines += ["", f"{setting}: {decoded:.0f} output tokens, concurrency {concurrency}", _HEAD]
        lines += [_line(row) for row in rows]
    return "\n".join([*lines, "", *_costs(report)])


def _line(row: Row) -> str:
    cpu = [1e3 * row.cpu_seconds.get(kind, float("nan")) for kind in (API, CORE, WORKER)]
    limit = f"{row.limit:.2f}" if row.limit else NONE
    share = f"{row.share_of_limit:.2f}" if row.share_of_limit else NONE
    return (
        f"{row.arm:22}{row.throughput:7.2f}{_times(row.ttft):>14}{_times(row.tpot):>13}"
        f"{_times(row.e2e_latency):>16}{row.tokens.prefilled:11.0f}{row.tokens.cached:8.0f}"
        f"{row.correct:9.2f}{cpu[0]:6.0f}{cpu[1]:6.0f}{cpu[2]:8.0f}  "
        f"{row.relative_throughput or NONE!s:18}{limit:>6}{share:>7}"
    )


def _times(times: Percentiles | None) -> str:
    return f"{1e3 * times.p50:.0f} / {1e3 * times.p95:.0f}" if times else NONE


def _costs(report: Report) -> Iterator[str]:
    if report.costs:
        yield "limit: if a request took nothing but (fitted to the stock arms of this run), in ms"
    for concurrency, c in report.costs.items():
        yield (
            f"  concurrency {concurrency:3}: {1e3 * c.base:.1f} + {1e3 * c.encode:.3f} a visual "
            f"token + {1e3 * c.prefill:.3f} a prompt token computed + {1e3 * c.decode:.2f} an "
            f"answer token (fits to {c.error:.0%})"
        )
