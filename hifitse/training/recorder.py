"""Everything that a training writes into its run and tells people. Of several ranks, only the main one does."""

import contextlib
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Protocol

from hifitse.evaluation.retention import prune
from hifitse.evaluation.validation import Exam
from hifitse.experiment import Experiment
from hifitse.runs.events import Events
from hifitse.runs.run import Run
from hifitse.schedule import is_due
from hifitse.training.metrics_log import MetricsLog
from hifitse.training.saver import Saver
from hifitse.training.state import TrainState

if TYPE_CHECKING:
    from hifitse.training.loop import StepResult


class Display(Protocol):
    """What people see of a training."""

    def step(self, result: "StepResult", seconds: float, waited_seconds: float) -> None: ...
    def exam_progress(self, num_scenes: int) -> None: ...
    def exam(self, exam: Exam) -> None: ...
    def message(self, text: str) -> None: ...


class Logbook:
    """What the methods here do, only the main rank does; on the others they do nothing."""

    def __init__(self, run: Run, display: Display, experiment: Experiment) -> None:
        self.run, self.display, self.experiment = run, display, experiment
        self.is_main = experiment.ranks.is_main
        self.events = Events(run, display.message)
        self.metrics: MetricsLog | None = None
        self.saver: Saver | None = None

    @contextlib.contextmanager
    def line(self, step: int) -> Generator[None]:
        """Log and save what follows a step; on leaving, what was begun to be saved is in place."""
        if not self.is_main:
            yield
            return
        if leftovers := self.run.remove_leftovers():
            self.events.note("cleaned", step, f"removed what a killed process had not finished: {', '.join(leftovers)}")
        self.metrics = MetricsLog(self.run, step)
        with Saver(self.run, self.experiment, self.events, self.metrics.rows, self._prune) as self.saver:
            yield

    def step(self, result: "StepResult", seconds: float, waited_seconds: float) -> None:
        if self.metrics:
            self.display.step(result, seconds, waited_seconds)
            if is_due(result.step, self.experiment.config.train.log_every) or result.skipped:
                self.metrics.step(result.to_row())

    def save(self, state: TrainState) -> None:
        """Begin to save a state, see `Saver.save`."""
        if self.saver:
            self.saver.save(state)

    def tend(self) -> None:
        """Look after a save that is under way, see `Saver.tend`."""
        if self.saver:
            self.saver.tend()

    def rescue(self, state: TrainState) -> None:
        """Save the steps that are done, because the next one cannot be."""
        if self.saver and not self.run.checkpoint_path(state.step).exists():
            self.saver.save(state)
            self.saver.flush()

    def exam(self, exam: Exam) -> None:
        if not self.metrics:
            return
        self.display.exam(exam)
        try:
            self.run.write_exam(exam.step, exam.to_json())
        except OSError as error:
            message = (
                f"{self.run.exam_path(exam.step)}: could not be written ({error.strerror}); free the disk or mend "
            )
            message += f"the folder, then: hifitse validate --run {self.run.argument} --from {exam.step}"
            self.events.add("exam_failed", exam.step, message)
        else:
            self.metrics.exam(exam)

    def _prune(self) -> None:
        prune(self.run, self.experiment.config, self.events)

    def event(self, kind: str, step: int, message: str, **details: Any) -> None:
        """Note and tell an event, see `Events.add`."""
        if self.is_main:
            self.events.add(kind, step, message, **details)

    def end(self, kind: str, step: int, message: str, **details: Any) -> None:
        """Note an event that ends the command, see `Events.note`."""
        if self.is_main:
            self.events.note(kind, step, message, **details)
