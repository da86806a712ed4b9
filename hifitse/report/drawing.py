"""What all figures of a report share: one look, and SVG whose colours are those of the page that it stands in."""

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, MUTED, GRID, BAD = "#1d2733", "#66727f", "#d9dee4", "#c5303a"
SERIES = ("#0b6bb5", "#c8670f", "#1a8754", "#9150b8", "#a8862a", "#3b8f95")
"""Of the runs, or of the lines of one run; a page has a darker and a lighter shade of each."""
VARIABLES = {INK: "--ink", MUTED: "--muted", GRID: "--grid", BAD: "--bad"} | {
    color: f"--series-{number}" for number, color in enumerate(SERIES)
}
"""Colours of the figures, and the variables of the page that stand in for them."""
_SIZE_INCHES = (3.9, 2.4)
_LINE_INCHES = 0.25
"""Of a title or of a row of a legend."""
_STYLE: dict[Any, Any] = {
    "font.size": 9.0,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.formatter.limits": (-3, 6),
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "text.color": INK,
    "text.parse_math": False,
    "legend.frameon": False,
    "legend.fontsize": 8.0,
    "lines.linewidth": 1.7,
    # Text stays text: it takes the font of the page, can be selected and read aloud.
    "svg.fonttype": "none",
    "svg.hashsalt": "hifitse",
}


@dataclass(frozen=True)
class Panel:
    """A figure with its words."""

    name: str
    """Of its file."""
    title: str
    caption: str
    figure: Figure


def panel(name: str, title: str, caption: str, draw: Callable[[Axes], None]) -> Panel:
    """Return a figure of one pair of axes that ``draw`` fills."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=_SIZE_INCHES, layout="constrained")
        axes = figure.add_subplot()
        draw(axes)
        return Panel(name, title, caption, figure)


def inline_svg(panel: Panel) -> str:
    """Return a figure as an SVG element for a page that has the `VARIABLES`."""
    with matplotlib.rc_context(_STYLE):
        text = io.StringIO()
        panel.figure.savefig(text, format="svg", metadata={"Date": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # Names of its parts, which all figures share; what is referred to has names of its own.
    svg = re.sub(r' id="[a-zA-Z0-9]+_[0-9_]+"', "", svg)
    svg = re.sub(r' (?:width|height)="[0-9.]+pt"', "", svg, count=2)
    svg = re.sub(r"'DejaVu Sans'[^;\"]*", "system-ui, sans-serif", svg)
    for color, variable in VARIABLES.items():
        svg = svg.replace(color, f"var({variable})")
    return re.sub(r"\s*\n\s*", "\n", svg)


def write_figure(panel: Panel, folder: Path) -> None:
    """Write a figure as ``NAME.svg`` and ``NAME.png``, on white, with title and legend, which a page has itself."""
    figure = panel.figure
    with matplotlib.rc_context(_STYLE):
        figure.suptitle(panel.title, fontsize=10)
        axes = figure.axes[0]
        entries = [] if axes.get_legend() is not None else axes.get_legend_handles_labels()[0]
        legend = figure.legend(loc="outside lower center", ncols=2) if entries else None
        width, height = _SIZE_INCHES
        figure.set_size_inches(width, height + _LINE_INCHES * (1 + len(entries) / 2))
        for kind in ("svg", "png"):
            figure.savefig(folder / f"{panel.name}.{kind}", dpi=200, facecolor="white")
        figure.suptitle("")
        figure.set_size_inches(width, height)
        if legend:
            legend.remove()
