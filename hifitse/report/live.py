"""What a training tells people while it runs: a live table on a terminal, plain lines in a pipe."""

import time
from collections import deque
from collections.abc import Sequence

from rich.live import Live
from rich.table import Table

from hifitse.config.schema import Config
from hifitse.console import duration, err, say
from hifitse.evaluation.validation import Exam
from hifitse.metrics import METRICS
from hifitse.schedule import is_due
from hifitse.training.loop import StepResult

WINDOW = 50
"""Steps over which the live figures are averaged."""
MOST_SILENCE = 60.0
"""Seconds after which a pipe gets a line, however slow the steps are."""


class TrainingDisplay:
    """Shows progress on stderr. A context: the live table is on screen inside it."""

    def __init__(self, config: Config, device: str, stop_at: int) -> None:
        self.config, self.device, self.stop_at = config, device, stop_at
        self.recent: deque[tuple[StepResult, float, float]] = deque(maxlen=WINDOW)
        self.last_exam: Exam | None = None
        self.examined = 0
        self.said_at = time.monotonic()
        self.live = Live(console=err, get_renderable=self._table, refresh_per_second=2) if err.is_terminal else None

    def __enter__(self) -> "TrainingDisplay":
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live:
            self.live.stop()

    def step(self, result: StepResult, seconds: float, waited_seconds: float) -> None:
        self.recent.append((result, seconds, waited_seconds))
        silent_seconds = time.monotonic() - self.said_at
        if self.live is None and (is_due(result.step, self.config.train.log_every) or silent_seconds > MOST_SILENCE):
            self.message("  ".join(f"{name} {value}" for name, value in self._figures()))

    def exam_progress(self, num_scenes: int) -> None:
        self.examined = num_scenes

    def exam(self, exam: Exam) -> None:
        self.examined = 0
        self.last_exam = exam
        self.message(f"validation at step {exam.step}: {exam_line(exam.metrics)}")

    def message(self, text: str) -> None:
        self.said_at = time.monotonic()
        say(text)

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        table.add_column(style="dim")
        table.add_column()
        for name, value in self._figures() if self.recent else [("starting", "loading the first scenes")]:
            table.add_row(name, value)
        if self.examined:
            table.add_row("validating", f"{self.examined}/{self.config.validation.num_scenes} scenes")
        if self.last_exam:
            table.add_row("last exam", f"step {self.last_exam.step}: {exam_line(self.last_exam.metrics)}")
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


def exam_line(metrics: dict[str, float]) -> str:
    """Return an exam's metrics on one line, with units."""
    return "  ".join(f"{name} {value:.2f} {METRICS[name].unit}".rstrip() for name, value in metrics.items())


def _mean(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{sum(known) / len(known):.3f}" if known else "-"
