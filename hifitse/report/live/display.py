"""What a training tells people while it runs: a live view on a terminal, plain lines in a pipe."""

import time
from types import TracebackType
from typing import Any

from rich.live import Live

from hifitse.console import err, info, into_log
from hifitse.errors import Interrupted, StoppedError
from hifitse.evaluation.result import ValidationResult
from hifitse.report.live.lines import TimeLeft, announce, step_line, validation_lines
from hifitse.report.live.view import View
from hifitse.runs.heartbeat import Heartbeat
from hifitse.runs.records import Row, read_metrics
from hifitse.runs.run import Run
from hifitse.schedule import is_due
from hifitse.training.step import TrainingSession

MAX_SILENT_SECONDS = 60.0
"""After this a pipe gets a line, however slow the steps are."""


class TrainingDisplay:
    """Shows the progress of a session on stderr. A context: the live view is on screen inside it."""

    def __init__(self, session: TrainingSession, run: Run, stop_at: int) -> None:
        self.session, self.run, self.stop_at = session, run, stop_at
        self.config = session.experiment.config
        self.rows: list[Row] = []
        self.beat: Heartbeat | None = None
        self.state = "training"
        self.time_left = TimeLeft(stop_at, self.config.train.compile)
        self.last_line_at = time.monotonic()
        self.live = Live(console=err, get_renderable=self.view, refresh_per_second=2) if err.is_terminal else None

    def __enter__(self) -> "TrainingDisplay":
        announce(self.session, self.stop_at)
        if self.live:
            self.rows = read_metrics(self.run)
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.state = self._end(kind)
        if self.live:
            self.live.stop()

    def view(self) -> View:
        """Return what is on screen now."""
        return View(self.run.name, self.config, self.state, self.beat, tuple(self.rows))

    def step(self, beat: Heartbeat, row: dict[str, Any] | None, seconds: float) -> None:
        self.beat = beat
        if row:
            self._add(row)
        if estimate := self.time_left.step(beat.step, seconds):
            self._line(f"{estimate}, validations not counted")
        silent_seconds = time.monotonic() - self.last_line_at
        if is_due(beat.step, self.config.train.log_every) or silent_seconds > MAX_SILENT_SECONDS:
            self._line(step_line(beat))

    def validation_progress(self, beat: Heartbeat) -> None:
        self.beat = beat

    def validation(self, beat: Heartbeat, result: ValidationResult) -> None:
        self.beat = beat
        metrics = {"metrics": result.metrics, "train": result.train_metrics}
        self._add({"kind": "exam", "step": result.step, **metrics})
        for what, line in validation_lines(result):
            self._line(f"{what} at step {result.step}: {line}")

    def message(self, text: str) -> None:
        info(text)

    def _line(self, text: str) -> None:
        """Say what the live view shows anyway; beside it, only the log of the run gets the line."""
        self.last_line_at = time.monotonic()
        if self.live:
            into_log(text)
        else:
            info(text)

    def _add(self, row: dict[str, Any]) -> None:
        if self.rows and self.rows[-1].step > row["step"]:
            # A rollback has archived the rows after that step.
            self.rows = [old for old in self.rows if old.step < row["step"]]
        self.rows.append(Row.model_validate(row))

    def _end(self, kind: type[BaseException] | None) -> str:
        if kind is None:
            return "finished" if self.stop_at == self.config.train.total_steps else "paused"
        if issubclass(kind, StoppedError):
            return "stopped"
        return "interrupted" if issubclass(kind, Interrupted) else "failed"
