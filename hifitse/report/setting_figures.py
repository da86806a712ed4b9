"""Figures of a sweep: what each setting is worth, and what came of which value."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter, PercentFormatter, StrMethodFormatter

from hifitse.report.curves import is_share
from hifitse.report.drawing import BAD, MUTED, SERIES, Panel, panel
from hifitse.sweeping.space import short_keys, shown
from hifitse.sweeping.standing import Standing, TrialResult

_LONGEST_LABEL = 14


def setting_figures(sweep: Standing) -> list[Panel]:
    """Return the shares of the settings, and a figure for each of them, the weightiest first."""
    keys = list(sweep.importance) or sweep.keys
    panels = [_importance_panel(sweep)] if sweep.importance else []
    return panels + [_setting_panel(sweep, key) for key in keys]


def _importance_panel(sweep: Standing) -> Panel:
    names = short_keys(sweep.keys)
    shares = list(sweep.importance.items())[::-1]

    def draw(axes: Axes) -> None:
        axes.barh([names[key] for key, _ in shares], [share for _, share in shares], color=SERIES[0], height=0.6)
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.set_xlim(0, 1)
        axes.grid(False, axis="y")

    num = sum(trial.state == "complete" for trial in sweep.trials)
    caption = f"shares in what tells the best of {num} complete trials from all of them; rough where they are few"
    return panel("importance", "Importance of the settings", caption, draw)


def _setting_panel(sweep: Standing, key: str) -> Panel:
    values, metric = sweep.space[key], sweep.metric

    def place(trial: TrialResult) -> float:
        value = trial.settings[key]
        return values.index(value) if isinstance(values, list) else float(value)  # type: ignore[arg-type]

    def mark(axes: Axes, trials: Sequence[TrialResult], marker: str, color: str, label: str) -> None:
        at = [place(trial) for trial in trials]
        axes.plot(at, [trial.value or 0.0 for trial in trials], marker, color=color, alpha=0.75, label=label)

    def draw(axes: Axes) -> None:
        tried = [trial for trial in sweep.trials if key in trial.settings]
        mark(axes, [trial for trial in tried if trial.state == "complete"], "o", SERIES[0], "complete")
        pruned = [trial for trial in tried if trial.state == "pruned" and trial.value is not None]
        mark(axes, pruned, "x", MUTED, "pruned")
        if best := sweep.best:
            ring = {"markersize": 11, "markerfacecolor": "none", "markeredgecolor": SERIES[0], "markeredgewidth": 1.6}
            axes.plot([place(best)], [best.value], "o", **ring)  # type: ignore[arg-type]
        refused = [trial for trial in tried if trial.value is None and trial.state in ("infeasible", "pruned")]
        edge, at_bottom = axes.get_xaxis_transform(), [0.0] * len(refused)
        axes.plot([place(trial) for trial in refused], at_bottom, "^", color=BAD, clip_on=False, transform=edge)
        if isinstance(values, list):
            axes.set_xticks(range(len(values)), [_short(shown(value)) for value in values])
            axes.set_xlim(-0.5, len(values) - 0.5)
        elif values["log"]:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            axes.xaxis.set_minor_formatter(NullFormatter())
        if is_share(metric.name):
            axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.set(ylabel=f"{metric.name}, {metric.unit}" if metric.unit else metric.name)

    return panel(f"setting_{key}", key, f"each mark is a trial; better: {metric.better}", draw)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_LABEL else f"{text[: _LONGEST_LABEL - 1]}…"
