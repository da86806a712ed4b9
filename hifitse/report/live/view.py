"""What a training looks like on a terminal: a bar for each phase, curves, and the last validations."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from hifitse.config.schema import Config
from hifitse.console import clean, duration
from hifitse.evaluation.bounds import Bound
from hifitse.metrics import MAIN_METRICS
from hifitse.report.live.lines import shown, terms_of
from hifitse.report.live.sparkline import sparkline
from hifitse.runs.heartbeat import Heartbeat
from hifitse.runs.records import Row

_WIDE, _HIGH = 110, 34
"""Columns and lines from which more is shown."""
_STATE_COLORS = {"training": "green", "stopped": "bold red", "failed": "bold red", "interrupted": "yellow"}
_MORE_METRICS = ("rejection_rate", "confusion_rate", "false_extraction_rate")
_HEADINGS = {
    "tp_si_sdr": "SI-SDR",
    "tp_si_sdri": "SI-SDRi",
    "ta_energy_db": "TA dB",
    "ta_suppression_db": "TA supp.",
    "val_loss": "loss",
    "rejection_rate": "rejected",
    "confusion_rate": "confused",
    "false_extraction_rate": "false extr.",
}


@dataclass(frozen=True)
class View:
    """A run at a moment; it can be printed by rich, and uses the width and height that it gets."""

    name: str
    config: Config
    state: str
    """As `hifitse.runs.summary.state` says it."""
    beat: Heartbeat | None
    """None where no training is or was going on lately."""
    rows: Sequence[Row]
    """Of metrics.jsonl, oldest first."""

    @property
    def steps(self) -> list[Row]:
        return [row for row in self.rows if row.kind == "step" and not row.get("skipped")]

    @property
    def validations(self) -> list[Row]:
        return [row for row in self.rows if row.is_validation]

    @property
    def step(self) -> int:
        return max([self.beat.step if self.beat else 0, *(row.step for row in self.rows[-2:])])

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width, height = options.max_width, console.height
        parts: list[RenderableType] = [self._title(width), self._phases(width)]
        if self.steps or self.validations or (self.beat and self.beat.means):
            parts += [Text(), self._figures(width)]
        if self.validations:
            parts += [Text(), self._validations(width, 8 if height >= _HIGH else 3)]
        yield Group(*parts)

    def _title(self, width: int) -> Table:
        beat = self.beat
        table = _grid(width)
        table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        table.add_column(justify="right", no_wrap=True)
        name = Text.assemble((clean(self.name), "bold"), f"  {self.config.model.kind}")
        if beat:
            name.append(f" on {beat.device}", "dim")
            if width >= _WIDE:
                name.append(f", process {beat.process} on {clean(beat.host)}", "dim")
        table.add_row(name, self._state())
        return table

    def _state(self) -> Text:
        beat = self.beat
        if self.state != "training" or beat is None:
            return Text(self.state, _STATE_COLORS.get(self.state.split()[0], ""))
        if not beat.is_fresh and beat.time:
            return Text(f"no sign of life for {duration(beat.age_seconds)}", "yellow")
        if beat.activity == "starting":
            return Text("loading the first scenes", "dim")
        if beat.activity == "validating":
            return Text(f"validating, {beat.num_validated}/{beat.num_scenes} scenes", "cyan")
        end = "" if beat.stop_at == beat.total_steps else f" to --stop-at {beat.stop_at}"
        left = "" if beat.remaining_seconds is None else f"{duration(beat.remaining_seconds)} left{end}"
        return Text(left, "green")

    def _phases(self, width: int) -> Table:
        table = _grid(width)
        table.add_column(no_wrap=True)
        table.add_column(ratio=1)
        table.add_column(justify="right", no_wrap=True)
        table.add_column(justify="right", no_wrap=True, min_width=11)
        start = 0
        for phase in self.config.curriculum:
            end = phase.until or self.config.train.total_steps
            length, done = end - start, min(max(self.step - start, 0), end - start)
            bar = ProgressBar(total=length, completed=done, complete_style="cyan", finished_style="green")
            table.add_row(clean(phase.name), bar, f"{done}/{length}", self._left(start, end))
            start = end
        return table

    def _left(self, start: int, end: int) -> Text:
        """Return how long it is to the end of a phase, or to --stop-at where that comes before."""
        beat = self.beat
        if self.step >= end:
            return Text("done", "green")
        if self.state != "training" or not beat or not beat.remaining_seconds or beat.stop_at <= start:
            return Text()
        seconds = beat.remaining_seconds * (min(end, beat.stop_at) - self.step) / (beat.stop_at - beat.step)
        return Text(f"in {duration(seconds)}", "dim")

    def _figures(self, width: int) -> Table:
        means = self._means()
        validated = self.validations[-1] if self.validations else None
        metrics = self._metrics(validated) if validated else {}
        table = _grid(width)
        table.add_column(style="dim", no_wrap=True)
        table.add_column(justify="right", no_wrap=True)
        spark_width = 20 + max(width - 80, 0) * 3 // 5
        table.add_column(no_wrap=True, width=spark_width, style="cyan")
        table.add_column(ratio=1, style="dim")

        def curve(name: str) -> str:
            return sparkline([float(v) for row in self.steps if (v := row.get(name)) is not None], spark_width)

        def validated_curve(name: str) -> str:
            values = [self._metrics(row).get(name) for row in self.validations]
            return sparkline([value for value in values if value is not None], spark_width)

        table.add_row("loss", shown(means.get("loss")), curve("loss"), _sum_of(terms_of(means, "weighted_terms")))
        if "tp_si_sdri" in metrics:
            known = (validated.get("train") or {}).get("tp_si_sdri") if validated else None
            note = f"dB, new speakers; {known:.2f} training ones" if known is not None else "dB, new speakers"
            table.add_row("SI-SDRi", f"{metrics['tp_si_sdri']:.2f}", validated_curve("tp_si_sdri"), note)
        table.add_row("rms_ratio", self._judged("rms_ratio", means), curve("rms_ratio"), self._bounds("rms_ratio"))
        if "rejection_rate" in metrics:
            rate = self._judged("rejection_rate", metrics)
            note = self._bounds("rejection_rate") or "of validation scenes"
            table.add_row("rejected", rate, validated_curve("rejection_rate"), note)
        if "ta_energy_db" in means:
            table.add_row("TA energy", f"{means['ta_energy_db']:.1f}", curve("ta_energy_db"), "dB below full scale")
        table.add_row("grad norm", shown(means.get("grad_norm")), curve("grad_norm"))
        if (beat := self.beat) and beat.scenes_per_second:
            memory = f"{beat.peak_memory_bytes / 1e9:.1f} GB memory" if beat.peak_memory_bytes else ""
            table.add_row(
                "scenes/s", f"{beat.scenes_per_second:.1f}", self._speeds(spark_width), _waiting(beat, memory)
            )
        return table

    def _means(self) -> dict[str, float]:
        """Return the means over the last steps, of the heartbeat or else of the last row."""
        if self.beat and self.beat.means:
            return self.beat.means
        if not self.steps:
            return {}
        row: dict[str, Any] = self.steps[-1].model_dump()
        flat = {name: value for name, value in row.items() if isinstance(value, float)}
        for group in ("terms", "weighted_terms"):
            flat |= {f"{group}.{name}": value for name, value in (row.get(group) or {}).items()}
        return flat

    def _speeds(self, width: int) -> str:
        machines = [row.get("machine") or {} for row in self.steps]
        return sparkline([m["scenes_per_second"] for m in machines if "scenes_per_second" in m], width)

    def _validations(self, width: int, most: int) -> Table:
        names = [*MAIN_METRICS, *(_MORE_METRICS if width >= _WIDE else _MORE_METRICS[:1])]
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        table.add_column("validation", justify="right", no_wrap=True)
        for name in names:
            table.add_column(_HEADINGS.get(name, name), justify="right", no_wrap=True)
        for row in self.validations[-most:]:
            metrics = self._metrics(row)
            table.add_row(str(row.step), *(self._judged(name, metrics) for name in names))
        return table

    def _metrics(self, row: Row) -> dict[str, float]:
        return row.get("metrics") or {}

    def _judged(self, name: str, metrics: dict[str, float]) -> Text:
        """Return a value in the colour of its bounds: green within them, red beyond, plain where there are none."""
        value = metrics.get(name)
        if value is None or not math.isfinite(value):
            return Text("-" if value is None else str(value), "" if value is None else "red")
        text = f"{100 * value:.0f} %" if name.endswith("_rate") else f"{value:.2f}"
        bounds = _bounds(self.config, name)
        if not bounds:
            return Text(text)
        return Text(text, "red" if any(bound.violation(metrics) for bound in bounds) else "green")

    def _bounds(self, name: str) -> str:
        sides = ((">=" if bound.at_least else "<=", bound.value) for bound in _bounds(self.config, name))
        return " and ".join(f"{sign} {value:g}" for sign, value in sides)


def _bounds(config: Config, name: str) -> list[Bound]:
    """Return what the guards and the selection ask of a metric."""
    found = [Bound.parse(text) for text in config.selection.require]
    for guard in config.health.guards:
        if guard.action != "ignore":
            for text, at_least in ((guard.below, True), (guard.above, False)):
                if text is not None:
                    found.append(Bound.parse(f"{guard.metric}{'>=' if at_least else '<='}{text}"))
    return [bound for bound in found if bound.metric.name == name]


def _sum_of(terms: dict[str, float]) -> str:
    return "= " + " + ".join(f"{value:.2f} {name}" for name, value in terms.items()) if terms else ""


def _waiting(beat: Heartbeat, memory: str) -> Text:
    waiting = Text(f"{100 * beat.wait_share:.0f} % waiting for data", "yellow" if beat.wait_share > 0.2 else "dim")
    return Text("  ").join([waiting, Text(memory)])


def _grid(width: int) -> Table:
    return Table.grid(padding=(0, 2, 0, 0), expand=True)
