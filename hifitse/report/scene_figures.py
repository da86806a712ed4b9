"""Figures of the scenes of one validation: for whom and for what the model works, and at which level."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from hifitse.evaluation.summary import break_down
from hifitse.metrics import FAILED_DB, REJECTED_DB, Sample
from hifitse.report.contents import Contents
from hifitse.report.curves import Values, colored
from hifitse.report.drawing import BAD, INK, MUTED, SERIES, Panel, panel

_MOST_SPEAKERS = 20
_MOST_DOTS = 500
"""Of a run in a figure; of more scenes some are left out."""
_FACTS = (
    ("sir_db", "SI-SDRi by SIR", "level of the target over its loudest interferer, dB"),
    ("snr_db", "SI-SDRi by SNR", "level of all speech over the noise, dB"),
    ("reference_seconds", "SI-SDRi by reference length", "speech in the reference, s"),
)


def scene_figures(runs: Sequence[Contents]) -> list[Panel]:
    """Return figures of the scenes of each run's chosen checkpoint."""
    measured = [(run, color, run.chosen.samples) for run, color in colored(runs) if run.chosen]
    scenes = [(color, samples) for _, color, samples in measured]
    if not scenes:
        return []
    panels = [_level_panel(scenes)]
    # Results of older versions know less of their scenes.
    if any(sample.presence_score_db is not None for _, samples in scenes for sample in samples):
        panels.append(_presence_panel(scenes))
    if any(sample.num_interferers is not None for _, samples in scenes for sample in samples):
        panels.append(_interferer_panel(scenes))
        panels += [_scatter_panel(scenes, *fact) for fact in _FACTS if _is_known(scenes, fact[0])]
        panels.append(_speaker_panel(scenes))
    return panels


Scenes = Sequence[tuple[str, Sequence[Sample]]]
"""Colour and scenes of each run."""


def _is_known(scenes: Scenes, field: str) -> bool:
    return any(_points(samples, field) for _, samples in scenes)


def _points(samples: Sequence[Sample], field: str) -> list[tuple[float, float]]:
    """Return a figure of each TP scene, and its SI-SDRi."""
    return [
        (value, sample.si_sdri_db)
        for sample in samples
        if (value := getattr(sample, field)) is not None and sample.si_sdri_db is not None
    ]


def _scatter_panel(scenes: Scenes, field: str, title: str, x_label: str) -> Panel:
    def draw(axes: Axes) -> None:
        for color, samples in scenes:
            x, y = np.array(_points(samples, field)).reshape(-1, 2).T
            every = _stride(len(x))
            axes.plot(x[::every], y[::every], "o", color=color, alpha=0.45, markersize=3.5, markeredgewidth=0)
            if np.isfinite(y).all() and len(np.unique(x)) > 1:
                ends = np.array([x.min(), x.max()])
                axes.plot(ends, np.polyval(np.polyfit(x, y, 1), ends), color=color, linewidth=1.4)
        axes.set(xlabel=x_label, ylabel="SI-SDRi, dB")
        _draw_failure(axes)

    return panel(f"by_{field}", title, "a dot is a scene, the line a linear fit; below the red line it failed", draw)


def _stride(num_scenes: int) -> int:
    return -(-num_scenes // _MOST_DOTS)


def _draw_failure(axes: Axes) -> None:
    axes.axhline(FAILED_DB, color=BAD, linewidth=0.9)


def _interferer_panel(scenes: Scenes) -> Panel:
    counts = sorted({s.num_interferers for _, samples in scenes for s in samples if s.num_interferers is not None})

    def draw(axes: Axes) -> None:
        width = 0.7 / len(scenes)
        for place, (color, samples) in enumerate(scenes):
            for number in counts:
                values = [y for x, y in _points(samples, "num_interferers") if x == number and np.isfinite(y)]
                if values:
                    at = number + (place - (len(scenes) - 1) / 2) * width
                    _draw_box(axes, values, at, 0.7 * width, color)
        axes.set(xlabel="interferers", ylabel="SI-SDRi, dB", xlim=(counts[0] - 0.6, counts[-1] + 0.6))
        axes.set_xticks(counts)
        _draw_failure(axes)

    caption = "boxes: half of the scenes, and their median; whiskers: 5 to 95 % of them"
    return panel("by_num_interferers", "SI-SDRi by number of interferers", caption, draw)


def _draw_box(axes: Axes, values: list[float], at: float, width: float, color: str) -> None:
    line, bold = {"color": color}, {"color": color, "linewidth": 2.2}
    axes.boxplot(
        values,
        positions=[at],
        widths=width,
        whis=(5, 95),
        sym="",
        manage_ticks=False,
        boxprops=line,
        whiskerprops=line,
        capprops=line,
        medianprops=bold,
    )


def _speaker_panel(scenes: Scenes) -> Panel:
    """The speakers that the first run does worst for, and what the others do for them."""
    named = [group.name for group in break_down(scenes[0][1])["speaker"] if "tp_si_sdri" in group.metrics]
    worst = named[:_MOST_SPEAKERS]

    def draw(axes: Axes) -> None:
        for color, samples in scenes:
            for place, name in enumerate(reversed(worst)):
                values = [s.si_sdri_db for s in samples if s.speaker == name and s.si_sdri_db is not None]
                dots = values[:: _stride(len(samples))]
                axes.plot(dots, [place] * len(dots), "o", color=color, alpha=0.3, markersize=3, markeredgewidth=0)
                if values:
                    axes.plot([np.mean(values)], [place], "D", color=color, markersize=5)
        axes.axvline(FAILED_DB, color=BAD, linewidth=0.9)
        axes.set_yticks(range(len(worst)), [_short(name) for name in reversed(worst)])
        axes.set_ylim(-0.6, len(worst) - 0.4)
        axes.set_xlabel("SI-SDRi, dB")

    which = f"the worst {len(worst)} of {len(named)}" if len(worst) < len(named) else "the worst first"
    return panel("by_speaker", "SI-SDRi by speaker", f"{which}; diamonds are means", draw)


def _short(name: str) -> str:
    return name if len(name) <= 18 else f"{name[:17]}…"


def _level_panel(scenes: Scenes) -> Panel:
    def draw(axes: Axes) -> None:
        levels = [_decibels([s.rms_ratio for s in samples if s.rms_ratio is not None]) for _, samples in scenes]
        edges = _edges([*levels, np.array([REJECTED_DB - 2, 2])])
        for (color, _), values in zip(scenes, levels, strict=True):
            axes.hist(values, edges, color=color, alpha=0.35)
            axes.hist(values, edges, color=color, histtype="step", linewidth=1.3)
        axes.axvline(0, color=INK, linewidth=0.9)
        axes.axvspan(edges[0], REJECTED_DB, color=BAD, alpha=0.12, linewidth=0)
        axes.set(xlabel="output over target, dB", ylabel="scenes", xlim=(edges[0], edges[-1]))

    caption = "TP scenes; right: at 0. In the red part the target was taken for absent (rejection)"
    return panel("levels", "Output level where the target speaks", caption, draw)


def _edges(parts: Sequence[Values]) -> list[float]:
    edges: list[float] = np.histogram_bin_edges(np.concatenate(parts), 30).tolist()
    return edges


def _scores(samples: Sequence[Sample], present: bool) -> Values:
    scores = [s.presence_score_db for s in samples if s.present == present and s.presence_score_db is not None]
    return _in_range(scores)


def _decibels(ratios: Sequence[float]) -> Values:
    found = 20 * np.log10(np.maximum(ratios, 1e-4))
    return _in_range(found)


def _in_range(levels: npt.ArrayLike) -> Values:
    """Return levels in dB for a histogram; of a model that has diverged those that are numbers."""
    found = np.asarray(levels, np.float64)
    return np.clip(found[np.isfinite(found)], -60, 20)


def _presence_panel(scenes: Scenes) -> Panel:
    def draw(axes: Axes) -> None:
        edges = _edges([_scores(samples, present) for _, samples in scenes for present in (True, False)])
        for number, (color, samples) in enumerate(scenes):
            other = SERIES[1] if len(scenes) == 1 else color
            for present, shade, style in ((True, color, "-"), (False, other, "--")):
                label = ("target present" if present else "target absent") if number == 0 else None
                axes.hist(
                    _scores(samples, present),
                    edges,
                    histtype="step",
                    color=shade,
                    linestyle=style,
                    linewidth=1.5,
                    label=label,
                )
        axes.set(xlabel="output over mixture, dB", ylabel="scenes")
        axes.legend(loc="upper left", labelcolor=MUTED)

    caption = "the further apart, the surer it is told whether the target speaks (presence_eer)"
    return panel("presence", "Output level, target present and absent", caption, draw)
