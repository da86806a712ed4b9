"""Everything that a training writes into its run and tells people. Of several ranks, only the main one does."""

import contextlib
from collections.abc import Generator
from types import TracebackType
from typing import Any, Protocol

from hifitse.errors import HifitseError
from hifitse.evaluation.result import ValidationResult
from hifitse.evaluation.retention import prune
from hifitse.experiment import Experiment
from hifitse.runs.events import EventLog
from hifitse.runs.run import Run
from hifitse.schedule import is_due
from hifitse.storage import JsonLog
from hifitse.tracking.tensorboard import TensorBoardLog
from hifitse.training.saving.results import Results
from hifitse.training.saving.saver import Saver
from hifitse.training.state import TrainState
from hifitse.training.step import StepResult


class Display(Protocol):
    """What people see of a training; a context, on screen inside it."""

    def __enter__(self) -> object: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...
    def step(self, result: StepResult, seconds: float, waited_seconds: float) -> None: ...
    def validation_progress(self, num_scenes: int) -> None: ...
    def validation(self, result: ValidationResult) -> None: ...
    def message(self, text: str) -> None: ...


class Recorder:
    """What the methods here do, only the main rank does; on the others they do nothing."""

    def __init__(self, run: Run, display: Display, experiment: Experiment) -> None:
        self.run, self.display, self.experiment = run, display, experiment
        self.is_main = experiment.ranks.is_main
        self.events = EventLog(run, display.message)
        self.rows = JsonLog(run.metrics_path)
        self.board: TensorBoardLog | None = None
        self.saver: Saver | None = None
        self.results: Results | None = None

    @property
    def unwritten(self) -> list[ValidationResult]:
        """The validation results that are not on the disk yet."""
        return self.results.waiting if self.results else []

    @contextlib.contextmanager
    def branch(self, step: int) -> Generator[None]:
        """Log and save what follows a step; on leaving, what was begun to be saved is in place."""
        if not self.is_main:
            yield
            return
        if leftovers := self.run.remove_leftovers():
            message = f"removed what a killed process had not finished: {', '.join(leftovers)}"
            self.events.record("cleaned", step, message)
        self.rows = JsonLog(self.run.metrics_path)
        self.board = TensorBoardLog(self.run.path / "tensorboard", step)
        limit_minutes = self.experiment.config.train.save_minutes
        with (
            Results(self.run, self.events, self.rows, limit_minutes) as self.results,
            Saver(self.run, self.experiment, self.events, self.rows, self._prune) as self.saver,
        ):
            yield

    def step(self, result: StepResult, seconds: float, waited_seconds: float) -> None:
        if not self.board:
            return
        self.display.step(result, seconds, waited_seconds)
        if is_due(result.step, self.experiment.config.train.log_every) or result.skipped:
            row = result.to_row()
            self.rows.append({"kind": "step", **row})
            figures = {name: value for name, value in row.items() if isinstance(value, int | float) and name != "step"}
            self.board.show(result.step, _tagged("train", figures | result.terms))

    def validation(self, result: ValidationResult) -> None:
        """Keep a validation result, and the row that says it is there."""
        if not (self.board and self.results):
            return
        self.display.validation(result)
        self.results.add(result)
        self.board.show(result.step, _tagged("validation", result.metrics))
        self.board.show(result.step, _tagged("validation_model_weights", result.model_metrics))
        if result.train_metrics:
            self.board.show(result.step, _tagged("validation_of_training_speakers", result.train_metrics))

    def save(self, state: TrainState) -> None:
        """Begin to save a state, see `Saver.save`."""
        if self.saver:
            self.saver.save(state)

    def poll(self) -> None:
        """Look after what is being saved, see `Saver.poll` and `Results.poll`."""
        if self.saver and self.results:
            self.saver.poll()
            self.results.poll()

    def save_now(self, state: TrainState) -> None:
        """Save the steps that are done, because the next one cannot be. What stopped it is not hidden by this."""
        if self.saver:
            try:
                self.saver.save(state)
                self.saver.flush()
            except (HifitseError, RuntimeError) as error:
                # A device that failed may not give its tensors any more.
                self.events.report("save_failed", state.step, f"step {state.step} could not be saved: {error}")

    def event(self, kind: str, step: int, message: str, **details: Any) -> None:
        """Record an event and show it, see `EventLog.report`."""
        if self.is_main:
            self.events.report(kind, step, message, **details)

    def end(self, kind: str, step: int, message: str, **details: Any) -> None:
        """Record an event that ends the command, see `EventLog.record`."""
        if self.is_main:
            self.events.record(kind, step, message, **details)

    def _prune(self) -> None:
        prune(self.run, self.experiment.config, self.events)


def _tagged(group: str, values: dict[str, Any]) -> dict[str, float]:
    return {f"{group}/{name}": value for name, value in values.items()}
