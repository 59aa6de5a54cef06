"""Charts of a report, drawn by Matplotlib as inline SVG: a scatter with intervals, lines, histograms.

Matplotlib draws in stand-in colours, which become the variables of the page's style sheet, so that charts follow its
light and dark scheme. Series are told apart by dash and marker as well. Text stays text, and each chart says what it
shows to those who cannot see it.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup, escape

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Axis", "Line", "Point", "histogram", "lines", "scatter"]

#: Stand-in colours by the variable of the style sheet that they become; near black, and used for nothing else.
INK, QUIET, RULE = "#010101", "#010102", "#010103"
SERIES = tuple(f"#0102{n:02d}" for n in range(10, 17))
VARIABLES = {INK: "--ink", QUIET: "--quiet", RULE: "--line"} | {c: f"--s{n}" for n, c in enumerate(SERIES)}
#: Dash and marker of each series. The released pictures (5) are drawn whole and thick.
DASHES = ("-", (0, (7, 3)), (0, (3, 3)), (0, (9, 3, 2, 3)), (0, (2, 2, 6, 2)), "-", (0, (1, 2)))
MARKERS = ("o", "s", "^", "D", "v", "*", "P")
OWN = 5
#: Size of charts in inches of 100 pixels, and of a letter in points: 12 pixels.
LARGE, SMALL, LETTER = (5.0, 3.3), (3.2, 2.1), 8.6
#: Room around the axes for marks and titles, and for a legend, in inches.
LEFT, RIGHT, TOP, BOTTOM, LEGEND = 0.7, 0.3, 0.12, 0.5, 1.6


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


def lines(curves: Sequence[Line], x: Axis, y: Axis, title: str, *, diagonal: bool = False) -> Markup:
    """Return a line chart.

    Args:
        curves: What to draw, the most important last.
        x: Horizontal axis.
        y: Vertical axis.
        title: What it shows, for those who cannot see it.
        diagonal: Also draw where y equals x: chance, in a ROC.
    """
    with _chart(title, LARGE) as (axes, drawn):
        _scaled(axes, x, y)
        if diagonal:
            steps = np.geomspace(x.low, x.high, 60) if x.log else np.linspace(x.low, x.high, 2)
            axes.plot(steps, steps, color=QUIET, linestyle=(0, (1, 3)), linewidth=1)
        for curve in curves:
            across = np.maximum(curve.x, x.low) if x.log else np.asarray(curve.x)
            style: Any = {"color": SERIES[curve.series], "linestyle": DASHES[curve.series]}
            axes.plot(across, curve.y, linewidth=2.2 if curve.series == OWN else 1.4, **style)
        said = [f"{curve.name} from {curve.y[0]:.2f} to {curve.y[-1]:.2f}" for curve in curves]
        drawn.append(f"{y.title} over {x.title}: {'; '.join(said)}.")
    return Markup(drawn[-1])  # noqa: S704 - made of escaped parts, see _chart


def scatter(points: Sequence[Point], x: Axis, y: Axis, title: str) -> Markup:
    """Return points with their intervals; a legend names them."""
    with _chart(title, LARGE, LEGEND) as (axes, drawn):
        _scaled(axes, x, y)
        for point in points:
            errors = [
                None if None in ends else np.abs(np.array(ends, float) - middle)[:, None]
                for ends, middle in ((point.x_interval, point.x), (point.y_interval, point.y))
            ]
            drawing = axes.errorbar(
                [point.x], [point.y], xerr=errors[0], yerr=errors[1], color=SERIES[point.series], elinewidth=1,
                marker=MARKERS[point.series], markersize=9 if point.series == OWN else 6, linestyle="none",
                label=point.name,
            )  # fmt: skip
            drawing[0].set_clip_on(False)  # markers on the axis stay whole
        legend = axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False, handletextpad=0.2)
        for text in legend.get_texts():
            text.set_color(INK)
        said = [f"{point.name} {point.x:.2f}, {point.y:.2f}" for point in points]
        drawn.append(f"{x.title} and {y.title}: {'; '.join(said)}.")
    return Markup(drawn[-1])  # noqa: S704 - made of escaped parts, see _chart


def histogram(edges: Sequence[float], same: Sequence[float], different: Sequence[float], title: str) -> Markup:
    """Return two histograms of cosine similarity over each other, each in proportions of its own total.

    Args:
        edges: Bin edges (n + 1).
        same: Counts (n) of pairs of one identity.
        different: Counts (n) of pairs of two.
        title: What it shows, for those who cannot see it.
    """
    parts = [np.asarray(counts, float) / max(float(np.sum(counts)), 1.0) for counts in (different, same)]
    used = np.flatnonzero(parts[0] + parts[1] > 0)
    first, last = (int(used[0]), int(used[-1]) + 1) if used.size else (0, len(edges) - 1)
    with _chart(title, SMALL) as (axes, drawn):
        for part, series in zip(parts, (3, OWN), strict=True):
            colour = SERIES[series]
            axes.stairs(
                part[first:last],
                edges[first : last + 1],
                fill=True,
                facecolor=(colour, 0.3),
                edgecolor=colour,
                linewidth=1,
            )
        axes.set_xlim(float(edges[first]), float(edges[last]))
        axes.set_ylim(0.0, max(float(max(part.max(initial=0.0) for part in parts)) * 1.05, 1e-3))
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.2g} %")
        axes.locator_params(nbins=4)
        axes.set_xlabel("cosine similarity")
        axes.set_ylabel("proportion of pairs")
        middles = (np.asarray(edges[:-1]) + np.asarray(edges[1:])) / 2
        said = [
            f"pairs of {name} {float(part @ middles):.2f}" for part, name in zip(parts, ("two", "one"), strict=True)
        ]
        drawn.append(f"mean cosine similarity: {'; '.join(said)}.")
    return Markup(drawn[-1])  # noqa: S704 - made of escaped parts, see _chart


@contextmanager
def _chart(title: str, size: tuple[float, float], right: float = RIGHT) -> Iterator[tuple[Axes, list[str]]]:
    """Give axes to draw on and a list for the description; at the end the list's last item is the SVG."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    settings: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": title,  # identifiers differ between the charts of a page, and are the same every time
        "font.size": LETTER,
        "axes.edgecolor": QUIET,
        "axes.labelcolor": QUIET,
        "xtick.color": QUIET,
        "ytick.color": QUIET,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "grid.color": RULE,
        # Signs of mathematics are no commands: a name may hold any of them.
        "text.parse_math": False,
    }
    with rc_context(settings):
        figure = Figure(figsize=size)
        axes = figure.add_axes(
            (LEFT / size[0], BOTTOM / size[1], 1 - (LEFT + right) / size[0], 1 - (BOTTOM + TOP) / size[1])
        )
        axes.grid(axis="y", linewidth=0.8)
        axes.set_axisbelow(True)
        drawn: list[str] = []
        yield axes, drawn
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    drawn.append(_inline(buffer.getvalue(), title, drawn[-1]))


def _inline(svg: str, title: str, description: str) -> str:
    """Return an SVG file as an element of a page: no prolog and metadata, the page's size, font and colours."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)
    # Names of groups are the same in every chart of the page; those of shapes are used, and salted.
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(r"font-family: [^;\"]*", "font-family: inherit", svg)
    svg = re.sub(r"#0[01]0[0-9a-f]{3}", lambda found: f"var({VARIABLES.get(found[0], '--ink')})", svg)
    # Of places (never of text) a tenth of a point is finer than any screen.
    svg = re.sub(r' (?:d|x|y|transform)="[^"]*"', lambda found: re.sub(r"(\d\.\d)\d+", r"\1", found[0]), svg)
    box = re.search(r'viewBox="[^"]+"', svg)
    head = f'<svg {box[0] if box else ""} role="img" aria-label="{escape(title)}"><desc>{escape(description)}</desc>'
    return head + svg[svg.index(">") + 1 :].strip()


def _scaled(axes: Axes, x: Axis, y: Axis) -> None:
    """Set the axes' ranges, marks and titles."""
    if x.log:
        axes.set_xscale("log")
        axes.minorticks_off()
    axes.set_xlim(x.low, x.high)
    axes.set_ylim(y.low, y.high)
    axes.set_xticks([value for value, _ in x.ticks], [text for _, text in x.ticks])
    axes.set_yticks([value for value, _ in y.ticks], [text for _, text in y.ticks])
    axes.set_xlabel(x.title)
    axes.set_ylabel(y.title)
