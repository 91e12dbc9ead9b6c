"""The report as text for people."""

from __future__ import annotations

from collections.abc import Iterator

from loadtests.compare.cpu import API, CORE, WORKER
from loadtests.compare.report import Report, Row

_HEAD = (
    f"{'':22}{'req/s':>7}{'first token s':>15}{'whole answer s':>16}{'prefilled':>10}{'cached':>8}"
    f"{'right':>7}{'api':>6}{'core':>6}{'worker':>7}  {'÷ plain':18}{'limit':>6}{'of it':>6}"
)


def table(report: Report) -> str:
    """A table for each setting and concurrency; times are p50 / p95.

    Between `right` and `÷ plain`: CPU ms a request of the server's processes.
    """
    lines: list[str] = []
    for setting, at_once in dict.fromkeys((row.setting, row.at_once) for row in report.rows):
        rows = [r for r in report.rows if (r.setting, r.at_once) == (setting, at_once)]
        decoded = rows[0].tokens.decoded
        lines += ["", f"{setting}: {decoded:.0f} tokens out, {at_once} at once", _HEAD]
        lines += [_line(row) for row in rows]
    return "\n".join([*lines, "", *_prices(report)])


def _line(row: Row) -> str:
    cpu = [1e3 * row.cpu.get(kind, float("nan")) for kind in (API, CORE, WORKER)]
    limit = f"{row.limit:6.2f}" if row.limit else f"{'–':>6}"
    share = f"{row.of_limit:6.2f}" if row.of_limit else f"{'–':>6}"
    return (
        f"{row.arm:22}{row.per_second:7.2f}{row.first_p50:8.3f} /{row.first_p95:5.2f}"
        f"{row.total_p50:9.3f} /{row.total_p95:5.2f}{row.tokens.prefilled:10.0f}"
        f"{row.tokens.cached:8.0f}{row.right:7.2f}{cpu[0]:6.0f}{cpu[1]:6.0f}{cpu[2]:7.0f}  "
        f"{row.to_plain or '–'!s:18}{limit}{share}"
    )


def _prices(report: Report) -> Iterator[str]:
    yield "limit: if a request took nothing but (fitted to the stock arms of this session), in ms"
    for at_once, p in report.prices.items():
        yield (
            f"  {at_once:3} at once: {1e3 * p.once:.1f} once + {1e3 * p.encode:.3f} a visual token "
            f"+ {1e3 * p.prefill:.3f} a prompt token computed + {1e3 * p.decode:.2f} an answer "
            f"token (fits to {p.error:.0%})"
        )
