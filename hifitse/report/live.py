"""What a training tells people while it runs: a live table on a terminal, plain lines in a pipe."""

import time
from collections import deque
from collections.abc import Sequence

from rich.live import Live
from rich.table import Table

from hifitse.console import duration, err, info
from hifitse.evaluation.result import ValidationResult
from hifitse.metrics import MAIN_METRICS, METRICS
from hifitse.mixing.loader import num_validation_scenes
from hifitse.models.build import num_parameters
from hifitse.schedule import is_due
from hifitse.training.step import StepResult, TrainingSession

WINDOW = 50
"""Steps over which the live figures are averaged."""
MAX_SILENT_SECONDS = 60.0
"""After this a pipe gets a line, however slow the steps are."""
_SECONDS_TO_ESTIMATE = 5.0
_OF_TRAIN_SPEAKERS = ("tp_si_sdr", "tp_si_sdri", "rms_ratio", "ta_suppression_db", "rejection_rate", "confusion_rate")


class TrainingDisplay:
    """Shows the progress of a session on stderr. A context: the live table is on screen inside it."""

    def __init__(self, session: TrainingSession, stop_at: int) -> None:
        self.session, self.stop_at = session, stop_at
        self.config, self.device = session.experiment.config, session.experiment.device
        self.recent: deque[tuple[StepResult, float, float]] = deque(maxlen=WINDOW)
        self.last_validation: ValidationResult | None = None
        self.num_validated = 0
        self.time_left = TimeLeft(stop_at)
        self.last_line_at = time.monotonic()
        self.live = Live(console=err, get_renderable=self._table, refresh_per_second=2) if err.is_terminal else None

    def __enter__(self) -> "TrainingDisplay":
        announce(self.session, self.stop_at)
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live:
            self.live.stop()

    def step(self, result: StepResult, seconds: float, waited_seconds: float) -> None:
        self.recent.append((result, seconds, waited_seconds))
        if estimate := self.time_left.step(result.step, seconds):
            self.message(f"{estimate}, validations not counted")
        silent_seconds = time.monotonic() - self.last_line_at
        if self.live is None and (
            is_due(result.step, self.config.train.log_every) or silent_seconds > MAX_SILENT_SECONDS
        ):
            self.message("  ".join(f"{name} {value}" for name, value in self._figures()))

    def validation_progress(self, num_scenes: int) -> None:
        self.num_validated = num_scenes

    def validation(self, result: ValidationResult) -> None:
        self.num_validated = 0
        self.last_validation = result
        for what, line in validation_lines(result):
            self.message(f"{what} at step {result.step}: {line}")

    def message(self, text: str) -> None:
        self.last_line_at = time.monotonic()
        info(text)

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        table.add_column(style="dim")
        table.add_column()
        for name, value in self._figures() if self.recent else [("starting", "loading the first scenes")]:
            table.add_row(name, value)
        if self.num_validated:
            num_scenes = sum(num_validation_scenes(self.config, known) for known in (False, True))
            table.add_row("validating", f"{self.num_validated}/{num_scenes} scenes")
        if last := self.last_validation:
            for what, line in validation_lines(last):
                table.add_row(what, f"step {last.step}: {line}")
        return table

    def _figures(self) -> list[tuple[str, str]]:
        results = [result for result, _, _ in self.recent]
        seconds, waited = (sum(times) for times in list(zip(*self.recent, strict=True))[1:])
        last, total = results[-1], self.config.train.total_steps
        remaining_seconds = (self.stop_at - last.step) * seconds / len(results)
        terms = "  ".join(f"{name} {_mean([r.terms.get(name) for r in results])}" for name in last.terms)
        return [
            ("step", f"{last.step}/{total}"),
            ("phase", last.phase),
            ("loss", f"{_mean([r.loss for r in results])}  ({terms})"),
            ("rms_ratio", _mean([r.rms_ratio for r in results])),
            ("ta_energy_db", _mean([r.ta_energy_db for r in results])),
            ("grad_norm", _mean([r.grad_norm for r in results])),
            ("scenes/s", f"{self.config.train.batch_size * len(results) / seconds:.1f} on {self.device}"),
            ("waiting", f"{100 * waited / seconds:.0f}% for data"),
            ("left", duration(remaining_seconds)),
        ]


class TimeLeft:
    """Estimates once, from real steps, how long the rest takes.

    The first step also pays for starting up, so it counts only if it is long.
    """

    def __init__(self, stop_at: int) -> None:
        self.stop_at = stop_at
        self.num_steps = 0
        self.seconds = 0.0
        self.is_first = True
        self.is_told = False

    def step(self, step: int, seconds: float) -> str | None:
        """Take note of a step; return the estimate in words when there is one for the first time."""
        if not self.is_first or seconds > _SECONDS_TO_ESTIMATE:
            self.num_steps, self.seconds = self.num_steps + 1, self.seconds + seconds
        self.is_first = False
        if self.is_told or self.seconds < _SECONDS_TO_ESTIMATE:
            return None
        self.is_told = True
        return f"about {duration(self.remaining_seconds(step))} left ({self.seconds / self.num_steps:.3g} s a step)"

    def remaining_seconds(self, step: int) -> float:
        return (self.stop_at - step) * self.seconds / max(self.num_steps, 1)


def announce(session: TrainingSession, stop_at: int) -> None:
    """Say what is about to be trained."""
    config, state = session.experiment.config, session.state
    info(
        f"training {config.model.kind} ({num_parameters(state.model):,} parameters) on {session.experiment.device}: "
        f"{stop_at - state.step} steps of {config.train.batch_size} scenes from step {state.step}"
    )


def validation_lines(result: ValidationResult) -> list[tuple[str, str]]:
    """Return what a validation measured, in lines with a title: the main metrics, what went wrong, and known voices."""
    others = [name for name in METRICS if name not in MAIN_METRICS]
    lines = [
        ("validation", _metrics_line(result.metrics, MAIN_METRICS)),
        ("went wrong", _metrics_line(result.metrics, others)),
        ("training speakers", _metrics_line(result.train_metrics or {}, _OF_TRAIN_SPEAKERS)),
    ]
    return [(what, line) for what, line in lines if line]


def _metrics_line(metrics: dict[str, float], names: Sequence[str]) -> str:
    return "  ".join(f"{name} {metrics[name]:.2f} {METRICS[name].unit}".rstrip() for name in names if name in metrics)


def _mean(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{sum(known) / len(known):.3f}" if known else "-"
