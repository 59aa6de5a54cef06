"""Charts as inline SVG: a scatter with intervals, lines, histograms. Colours come from the page's style sheet.

Every text is escaped on its way in. A series is drawn in the class ``s0``, ``s1``, ... of its number, which the style
sheet gives a colour and a dash, so that lines can be told apart without colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

__all__ = ["Axis", "Line", "Point", "histogram", "lines", "scatter"]

#: Room around the drawing for ticks and titles, in pixels.
LEFT, RIGHT, TOP, BOTTOM = 66, 22, 14, 46
#: Height of a line of text and width of a letter, in pixels, to keep labels apart.
TEXT_HEIGHT, LETTER = 14.0, 6.6


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis.

    Args:
        title: What it shows, with its unit.
        low: Value at its start; above 0 on a logarithmic axis.
        high: Value at its end.
        ticks: Value and text of each mark.
        log: Whether it is logarithmic.
    """

    title: str
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    log: bool = False

    def place(self, value: float) -> float:
        """Return where a value lies, 0 at the start and 1 at the end; values beyond are held there."""
        low, high = np.log10([self.low, self.high]) if self.log else (self.low, self.high)
        at = np.log10(max(value, self.low)) if self.log else value
        return float(np.clip((at - low) / (high - low), 0.0, 1.0))


@dataclass(frozen=True, slots=True)
class Line:
    """A named line: its series number, x and y."""

    name: str
    series: int
    x: Sequence[float]
    y: Sequence[float]


@dataclass(frozen=True, slots=True)
class Point:
    """A named point with its series number and the ends of its intervals, None where there are none."""

    name: str
    series: int
    x: float
    y: float
    x_interval: tuple[float | None, float | None] = (None, None)
    y_interval: tuple[float | None, float | None] = (None, None)


@dataclass(frozen=True, slots=True)
class _Canvas:
    """Where a chart is drawn: its axes and its size in pixels."""

    x: Axis
    y: Axis
    width: int = 480
    height: int = 320

    def at(self, across: float, up: float) -> tuple[float, float]:
        """Return the pixel of two values."""
        return (
            LEFT + self.x.place(across) * (self.width - LEFT - RIGHT),
            self.height - BOTTOM - self.y.place(up) * (self.height - TOP - BOTTOM),
        )

    def svg(self, body: Sequence[Markup], title: str) -> Markup:
        """Return the whole chart: axes, then what is drawn on them."""
        head = Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">').format(self.width, self.height, title)
        return head + self._axes() + Markup("").join(body) + Markup("</svg>")

    def _axes(self) -> Markup:
        x, y, parts = self.x, self.y, []
        for value, text in y.ticks:
            left, height = self.at(x.low, value)
            parts.append(_polyline([(left, height), self.at(x.high, value)], "grid"))
            parts.append(_text(left - 6, height + 4, text, "tick end"))
        for value, text in x.ticks:
            across, bottom = self.at(value, y.low)
            parts.append(_polyline([(across, bottom), (across, bottom + 4)], "axis"))
            parts.append(_text(across, bottom + 17, text, "tick middle"))
        parts.append(_polyline([self.at(x.low, y.low), self.at(x.high, y.low)], "axis"))
        parts.append(_text((LEFT + self.width - RIGHT) / 2, self.height - 8, x.title, "title middle"))
        middle = (TOP + self.height - BOTTOM) / 2
        turned = Markup('<text class="title middle" transform="translate(14 {:.0f}) rotate(-90)">{}</text>')
        return Markup("").join([*parts, turned.format(middle, y.title)])


def lines(curves: Sequence[Line], x: Axis, y: Axis, title: str, *, diagonal: bool = False) -> Markup:
    """Return a line chart.

    Args:
        curves: What to draw, the most important last.
        x: Horizontal axis.
        y: Vertical axis.
        title: For those who cannot see it.
        diagonal: Also draw where y equals x: chance, in a ROC.
    """
    canvas = _Canvas(x, y)
    at = canvas.at
    body = []
    if diagonal:
        steps = np.geomspace(x.low, x.high, 60) if x.log else np.linspace(x.low, x.high, 2)
        body.append(_polyline([at(v, v) for v in steps], "chance"))
    body += [
        _polyline([at(a, b) for a, b in zip(curve.x, curve.y, strict=True)], f"line s{curve.series}", curve.name)
        for curve in curves
    ]
    return canvas.svg(body, title)


def scatter(points: Sequence[Point], x: Axis, y: Axis, title: str) -> Markup:
    """Return points with their intervals and names; names are moved up or down so that none covers another."""
    canvas = _Canvas(x, y)
    at = canvas.at
    body: list[Markup] = []
    taken: list[tuple[float, float, float]] = []
    for point in points:
        for ends in ([(v, point.y) for v in point.x_interval], [(point.x, v) for v in point.y_interval]):
            known = [(a, b) for a, b in ends if a is not None and b is not None]
            if len(known) == 2:
                body.append(_polyline([at(a, b) for a, b in known], f"bar s{point.series}"))
    for point in sorted(points, key=lambda p: p.y):
        px, py = at(point.x, point.y)
        body.append(Markup('<circle class="dot s{}" cx="{:.1f}" cy="{:.1f}" r="5"/>').format(point.series, px, py))
        width = LETTER * len(point.name)
        left = px + 9 if px + 9 + width < canvas.width else px - 9 - width
        top = _free(left, py - 6, width, taken, canvas.height - BOTTOM - 2)
        taken.append((left, top, width))
        body.append(_text(left, top, point.name, "label"))
    return canvas.svg(body, title)


def histogram(edges: Sequence[float], same: Sequence[float], different: Sequence[float], title: str) -> Markup:
    """Return two histograms of cosine similarity over each other, each as a share of its own total.

    Args:
        edges: Bin edges (n + 1).
        same: Counts (n) of pairs of one identity.
        different: Counts (n) of pairs of two.
        title: For those who cannot see it.
    """
    shares = [np.asarray(counts, float) / max(float(np.sum(counts)), 1.0) for counts in (same, different)]
    top = max(float(max(share.max(initial=0.0) for share in shares)), 1e-9)
    used = np.flatnonzero(shares[0] + shares[1] > 0)
    first, last = (int(used[0]), int(used[-1]) + 1) if used.size else (0, len(edges) - 1)
    low, high = float(edges[first]), float(edges[last])
    step = 0.4 if high - low > 1 else 0.2 if high - low > 0.5 else 0.1
    marks = tuple((n * step, f"{n * step:.1f}") for n in range(int(np.ceil(low / step)), int(high / step) + 1))
    x = Axis("cosine similarity", low, high, marks)
    y = Axis("share of pairs", 0.0, top * 1.05, tuple((v, f"{100 * v:.2g} %") for v in (0.0, top / 2, top)))
    canvas = _Canvas(x, y, 300, 200)
    at = canvas.at
    body = []
    for share, name in zip(shares[::-1], ("different", "same"), strict=True):
        corners = [at(low, 0.0)]
        for n in range(first, last):
            corners += [at(float(edges[n]), float(share[n])), at(float(edges[n + 1]), float(share[n]))]
        body.append(_polyline([*corners, at(high, 0.0)], f"area {name}", f"{name} identity"))
    return canvas.svg(body, title)


def _free(left: float, top: float, width: float, taken: Sequence[tuple[float, float, float]], lowest: float) -> float:
    """Return the height nearest to ``top``, and not below ``lowest``, at which a text covers no other."""
    for step in range(40):
        for sign in (-1, 1):
            height = top + sign * step * TEXT_HEIGHT / 2
            apart = all(
                abs(height - other) >= TEXT_HEIGHT or left + width < start or start + length < left
                for start, other, length in taken
            )
            if apart and TOP + 8 < height < lowest:
                return height
    return top


def _text(x: float, y: float, text: str, kind: str) -> Markup:
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}">{}</text>').format(kind, x, y, text)


def _polyline(points: Sequence[tuple[float, float]], kind: str, title: str = "") -> Markup:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    if not title:
        return Markup('<polyline class="{}" points="{}"/>').format(kind, path)
    return Markup('<polyline class="{}" points="{}"><title>{}</title></polyline>').format(kind, path, title)
