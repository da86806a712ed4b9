"""The page: one HTML file that needs nothing else, from what was gathered, drawn and rendered."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from hifitse.config.files import to_recorded
from hifitse.config.parsing.yaml import write_yaml
from hifitse.evaluation.comparison import paired
from hifitse.evaluation.comparison.paired import Difference
from hifitse.evaluation.intervals import Interval
from hifitse.evaluation.result import ValidationResult
from hifitse.evaluation.summary import summarize
from hifitse.metrics import METRICS
from hifitse.report.contents import Contents, differences
from hifitse.report.curves import is_share, training_curves
from hifitse.report.drawing import SERIES, Panel, inline_svg, write_figure
from hifitse.report.players import Listening
from hifitse.report.scene_figures import scene_figures
from hifitse.report.setting_figures import setting_figures
from hifitse.sweeping.space import short_keys, shown
from hifitse.sweeping.standing import Standing

_TILES = (
    "tp_si_sdri",
    "rms_ratio",
    "ta_suppression_db",
    "rejection_rate",
    "confusion_rate",
    "false_extraction_rate",
)


@dataclass(frozen=True)
class Figures:
    """All figures of a page."""

    training: Sequence[Panel]
    scenes: Sequence[Panel]
    settings: Sequence[Panel]
    """Of a sweep."""

    @classmethod
    def draw(cls, runs: Sequence[Contents], sweep: Standing | None = None) -> "Figures":
        return cls(training_curves(runs), scene_figures(runs), setting_figures(sweep) if sweep else [])

    def write(self, folder: Path) -> None:
        """Write each of them as ``NAME.svg`` and ``NAME.png``."""
        folder.mkdir(parents=True, exist_ok=True)
        for panel in [*self.settings, *self.training, *self.scenes]:
            write_figure(panel, folder)


@dataclass(frozen=True)
class Tile:
    """A figure of the chosen checkpoint, for people in a hurry."""

    name: str
    describe: str
    value: str
    interval: str
    """95 %, or empty."""
    of_training_speakers: str
    problem: str
    """The bound that it is beyond, or empty."""


def page(runs: Sequence[Contents], figures: Figures, listening: Listening, sweep: Standing | None = None) -> str:
    """Return the page as HTML.

    Args:
        sweep: what the runs are the best trials of.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"svg": _svg, "figure": _figure, "interval": _interval, "setting": _setting, "value": shown}
    return environment.get_template("page.html").render(
        style=Markup((Path(__file__).parent / "page.css").read_text(encoding="utf-8")),
        runs=runs,
        sweep=sweep,
        short_keys=short_keys(sweep.keys) if sweep else {},
        num_colors=len(SERIES),
        tiles=[_tiles(run) for run in runs],
        configs=[write_yaml(to_recorded(run.config)) for run in runs],
        verdicts=_verdicts(runs),
        differences=differences(runs),
        figures=figures,
        listening=listening,
        metrics=METRICS,
    )


def _tiles(run: Contents) -> list[Tile]:
    if run.chosen is None:
        return []
    known = run.chosen.train_metrics or {}
    return [
        Tile(
            name,
            METRICS[name].describe,
            _figure(run.chosen.metrics[name], name),
            interval,
            _figure(known[name], name) if name in known else "",
            next(
                (
                    problem
                    for bound in run.bounds
                    if bound.metric.name == name and (problem := bound.violation(run.chosen.metrics))
                ),
                "",
            ),
        )
        for name, interval in _intervals(run.chosen).items()
    ]


def _intervals(result: ValidationResult) -> dict[str, str]:
    """Return the metrics of the tiles that were measured, each with its 95 % interval in words."""
    summaries = summarize(result.samples)
    found = {}
    for name in _TILES:
        if name in result.metrics:
            found[name] = _interval(summaries[name].interval, name) if name in summaries else ""
    return found


def _verdicts(runs: Sequence[Contents]) -> list[tuple[str, list[Difference] | None]]:
    """Return how the chosen checkpoint of the first run compares with that of each other; None: on other scenes."""
    first, *others = runs
    found: list[tuple[str, list[Difference] | None]] = []
    for other in others:
        if first.chosen and other.chosen:
            comparable = first.chosen.scenes == other.chosen.scenes
            found.append(
                (other.name, paired.differences(first.chosen.samples, other.chosen.samples) if comparable else None)
            )
    return found


def _interval(interval: Interval, name: str) -> str:
    """Return an interval in words; of a mean that has none, none."""
    if not math.isfinite(interval.low):
        return ""
    return f"{_figure(interval.low, name)} to {_figure(interval.high, name)}"


def _svg(panel: Panel) -> Markup:
    return Markup(inline_svg(panel))


def _figure(value: float | None, name: str) -> str:
    """Return a value of a metric as a page shows it, without its unit."""
    if value is None:
        return "–"
    return f"{100 * value:.0f}\u00a0%" if is_share(name) else f"{value:.2f}"


def _setting(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)
