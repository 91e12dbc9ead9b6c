"""Accuracy against throughput, one line a condition, as a small SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

_WIDTH, _HEIGHT = 720, 460
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 690, 50, 390
_COLOURS = ("#5f6b7a", "#d9480f", "#2b8a3e", "#1864ab")


@dataclass(frozen=True)
class Point:
    """`x` questions a second, `y` score 0 to 1, `label` the budget."""

    line: str
    x: float
    y: float
    label: str


def draw_curve(points: Sequence[Point], title: str) -> str:
    """The points of each line joined in order of throughput, every point with its budget."""
    lines = list(dict.fromkeys(point.line for point in points))
    most = max((point.x for point in points), default=1.0) * 1.1 or 1.0
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" '
        f'viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" font-size="13">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        _text(_LEFT, 26, title, size=16),
        *_axes(most),
    ]
    for number, line in enumerate(lines):
        colour = _COLOURS[number % len(_COLOURS)]
        mine = sorted((p for p in points if p.line == line), key=lambda p: p.x)
        path = " ".join(f"{_x(p.x, most):.1f},{_y(p.y):.1f}" for p in mine)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for point in mine:
            x, y = _x(point.x, most), _y(point.y)
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>')
            parts.append(_text(x + 6, y - 6, point.label, colour=colour))
        parts.append(_text(_LEFT + 130 * number, _HEIGHT - 14, line, colour=colour, size=14))
    return "\n".join([*parts, "</svg>", ""])


def _axes(most: float) -> list[str]:
    parts = []
    for tenth in range(0, 11, 2):
        y = _y(tenth / 10)
        parts.append(f'<path d="M{_LEFT} {y:.1f}H{_RIGHT}" stroke="#ddd"/>')
        parts.append(_text(34, y + 4, f"{tenth / 10:.1f}"))
    for quarter in range(5):
        x = _LEFT + (_RIGHT - _LEFT) * quarter / 4
        parts.append(_text(x - 10, _BOTTOM + 20, f"{most * quarter / 4:.3g}"))
    parts.append(_text(_RIGHT - 150, _BOTTOM + 40, "questions a second"))
    parts.append(_text(14, _TOP - 8, "score"))
    return parts


def _x(value: float, most: float) -> float:
    return _LEFT + (_RIGHT - _LEFT) * value / most


def _y(value: float) -> float:
    return _BOTTOM - (_BOTTOM - _TOP) * value


def _text(x: float, y: float, text: str, colour: str = "#222", size: int = 13) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}"'
    return f'<text {place} fill="{colour}" font-size="{size}">{escape(text)}</text>'
