"""Figures of a training: its metrics, its loss and its speed against the step, of one run or of several."""

import math
from collections.abc import Sequence
from itertools import cycle

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, PercentFormatter, StrMethodFormatter

from hifitse.evaluation.result import ValidationResult
from hifitse.metrics import METRICS
from hifitse.report.contents import Branch, Contents
from hifitse.report.drawing import BAD, INK, MUTED, SERIES, Panel, panel

Values = npt.NDArray[np.float64]

_METRICS = (
    "tp_si_sdri",
    "rms_ratio",
    "ta_energy_db",
    "ta_suppression_db",
    "rejection_rate",
    "confusion_rate",
    "failure_rate",
    "false_extraction_rate",
    "val_loss",
)
_FIGURES = (
    ("grad_norm", "Gradient norm", "before clipping; the scale is logarithmic"),
    ("learning_rate", "Learning rate", "warm-ups and cuts by rollbacks included"),
    ("scenes_per_second", "Speed, scenes/s", "training steps only"),
    ("wait_share", "Waiting for data", "share of the time"),
)
_LEGEND_SHARE = 0.4
"""Room for a legend above the lines, by what they take."""
_MOST_POINTS = 400
"""Of a line; longer logs are averaged."""


def training_curves(runs: Sequence[Contents]) -> list[Panel]:
    """Return a figure for each metric that was validated and each figure that was logged."""
    panels = [_metric_panel(runs, name) for name in _METRICS if _is_measured(runs, name)]
    if any(run.in_place.rows for run in runs):
        panels.append(_loss_panel(runs))
    panels += [
        _rows_panel(runs, name, title, caption)
        for name, title, caption in _FIGURES
        if any(name in row for run in runs for row in run.in_place.rows)
    ]
    return panels


def colored(runs: Sequence[Contents]) -> list[tuple[Contents, str]]:
    """Return each run with its colour."""
    return list(zip(runs, cycle(SERIES), strict=False))


def is_share(name: str) -> bool:
    """Tell whether a metric is a share, to be shown in percent."""
    return name.endswith("_rate") or name == "presence_eer"


def _is_measured(runs: Sequence[Contents], name: str) -> bool:
    return any(name in result.metrics for run in runs for result in run.in_place.results)


def _metric_panel(runs: Sequence[Contents], name: str) -> Panel:
    metric = METRICS[name]

    def draw(axes: Axes) -> None:
        for run, color in colored(runs):
            for branch in run.archived:
                _draw_metric(axes, _joined(run, branch), name, MUTED, alpha=0.45)
            known_color = SERIES[1] if len(runs) == 1 else color
            known = [result for result in run.in_place.results if result.train_metrics]
            values = [(result.train_metrics or {}).get(name, math.nan) for result in known]
            if not np.isnan(values).all():
                steps = [result.step for result in known]
                label = "training speakers" if run is runs[-1] else None
                axes.plot(steps, values, "--", color=known_color, linewidth=1.2, marker=".", markersize=4, label=label)
            if len(runs) == 1:
                steps = [result.step for result in run.in_place.results]
                of_model = [result.model_metrics.get(name, math.nan) for result in run.in_place.results]
                axes.plot(steps, of_model, ":", color=color, linewidth=1.2, label="model weights")
            _draw_metric(axes, run.in_place.results, name, color, label=run.name if len(runs) > 1 else "EMA weights")
            if run.chosen and name in run.chosen.metrics:
                _draw_chosen(axes, run.chosen.step, run.chosen.metrics[name], color)
        if is_share(name):
            axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
            top = min(max(1.03 * axes.get_ylim()[1], 0.1), 1.04)
            axes.set_ylim(-0.03 * top, top)
        _draw_bounds(axes, runs[0], name)
        _draw_marks(axes, runs)

    unit = f", {metric.unit}" if metric.unit else ""
    return panel(name, f"{name}{unit}", f"{metric.describe}; better: {metric.better}", draw)


def _joined(run: Contents, branch: Branch) -> list[ValidationResult]:
    """Return the validations of an archived branch, from the one on that it left the branch in place at."""
    shared = [result for result in run.in_place.results if result.step == branch.after_step]
    return [*shared, *branch.results]


def _draw_metric(
    axes: Axes,
    results: Sequence[ValidationResult],
    name: str,
    color: str,
    alpha: float | None = None,
    label: str | None = None,
) -> None:
    steps, values = [result.step for result in results], [result.metrics.get(name, math.nan) for result in results]
    axes.plot(steps, values, color=color, alpha=alpha, label=label, marker="o", markersize=3)


def _draw_chosen(axes: Axes, step: int, value: float, color: str) -> None:
    axes.plot([step], [value], "o", markersize=9, markerfacecolor="none", markeredgecolor=color, markeredgewidth=1.6)


def _draw_bounds(axes: Axes, run: Contents, name: str) -> None:
    """Shade what is beyond the bounds, as far as the figure shows it anyway or is near to it."""
    limits = [bound for bound in run.bounds if bound.metric.name == name]
    if not limits:
        return
    low, high = axes.get_ylim()
    reach = 0.6 * (high - low)
    for bound in limits:
        if low - reach <= bound.value <= high + reach:
            low, high = min(low, bound.value - 0.05 * reach), max(high, bound.value + 0.05 * reach)
    axes.set_ylim(low, high)
    for bound in limits:
        if low <= bound.value <= high:
            axes.axhline(bound.value, color=BAD, linewidth=0.9)
            beyond = (low, bound.value) if bound.at_least else (bound.value, high)
            axes.axhspan(*beyond, color=BAD, alpha=0.12, linewidth=0)


def _draw_marks(axes: Axes, runs: Sequence[Contents]) -> None:
    """Mark phases; of a single run also its resumes and what guards found."""
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    axes.set_xlabel("step")
    edge = axes.get_xaxis_transform()
    for start, name in runs[0].phases:
        if start:
            axes.axvline(start, color=MUTED, linewidth=0.9, linestyle=(0, (1, 2)))
            axes.text(start, 1.01, f" {name}", color=MUTED, fontsize=8, va="bottom", ha="center", transform=edge)
    if len(runs) > 1:
        return
    resumes, alarms = runs[0].resumes, runs[0].guard_steps
    for steps, marker, color in ((resumes, "^", INK), (alarms, "x", BAD)):
        at_bottom = [0] * len(steps)
        axes.plot(steps, at_bottom, marker, color=color, markeredgewidth=2, clip_on=False, transform=edge)


def _loss_panel(runs: Sequence[Contents]) -> Panel:
    def draw(axes: Axes) -> None:
        if len(runs) > 1:
            _draw_rows(axes, runs, "loss")
            return
        rows = runs[0].in_place.rows
        _draw_row_line(axes, rows, "loss", INK, label="loss")
        terms = sorted({name for row in rows for name in row if name.startswith("term.")})
        for name, color in zip(terms, cycle(SERIES), strict=False):
            _draw_row_line(axes, rows, name, color, label=name.removeprefix("term."), linewidth=1.2)
        low, high = axes.get_ylim()
        axes.set_ylim(low, high + _LEGEND_SHARE * (high - low))
        axes.legend(loc="upper left", ncols=2)
        _draw_marks(axes, runs)

    caption = "as logged" if len(runs) > 1 else "as logged; terms times their weights add up to it"
    return panel("loss", "Training loss", caption, draw)


def _rows_panel(runs: Sequence[Contents], name: str, title: str, caption: str) -> Panel:
    def draw(axes: Axes) -> None:
        if name == "grad_norm":
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axes.yaxis.set_minor_formatter(NullFormatter())
        _draw_rows(axes, runs, name)

    return panel(name, title, caption, draw)


def _draw_rows(axes: Axes, runs: Sequence[Contents], name: str) -> None:
    for run, color in colored(runs):
        for branch in run.archived:
            _draw_row_line(axes, branch.rows, name, MUTED, alpha=0.45)
        _draw_row_line(axes, run.in_place.rows, name, color, label=run.name if len(runs) > 1 else None)
    _draw_marks(axes, runs)


def _draw_row_line(
    axes: Axes,
    rows: Sequence[dict[str, float]],
    name: str,
    color: str,
    alpha: float | None = None,
    label: str | None = None,
    linewidth: float = 1.4,
) -> None:
    points = [(row["step"], row[name]) for row in rows if name in row and math.isfinite(row[name])]
    steps, values = np.array(points, dtype=float).reshape(-1, 2).T
    if len(points) > _MOST_POINTS:
        steps, values = (_averaged(part) for part in (steps, values))
    axes.plot(steps, values, color=color, alpha=alpha, label=label, linewidth=linewidth)


def _averaged(part: Values) -> Values:
    return np.array([piece.mean() for piece in np.array_split(part, _MOST_POINTS)])
