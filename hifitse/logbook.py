"""Everything that a training writes into its run and tells people. Of several ranks, only the main one does."""

from typing import TYPE_CHECKING, Any, Protocol

from hifitse import checkpoints
from hifitse.events import Events
from hifitse.experiment import Experiment
from hifitse.metrics_log import MetricsLog
from hifitse.runs import Run
from hifitse.schedule import is_due
from hifitse.state import TrainState, header, to_tensors
from hifitse.validation import Exam

if TYPE_CHECKING:
    from hifitse.training import StepResult


class Display(Protocol):
    """What people see of a training."""

    def step(self, result: "StepResult", seconds: float, waited_seconds: float) -> None: ...
    def exam_progress(self, num_scenes: int) -> None: ...
    def exam(self, exam: Exam) -> None: ...
    def message(self, text: str) -> None: ...


class Logbook:
    """A context; on ranks other than the main one its methods do nothing."""

    def __init__(self, run: Run, display: Display, experiment: Experiment) -> None:
        self.run, self.display, self.experiment = run, display, experiment
        self.is_main = experiment.ranks.is_main
        self.events = Events(run, display.message)
        self.metrics: MetricsLog | None = None

    def __enter__(self) -> "Logbook":
        return self

    def __exit__(self, *_: object) -> None:
        if self.metrics:
            self.metrics.close()

    def begin(self, step: int) -> None:
        """Begin, or begin again after a rollback, to log what follows a step."""
        if self.metrics:
            self.metrics.close()
        if self.is_main:
            self.metrics = MetricsLog(self.run, step)

    def step(self, result: "StepResult", seconds: float, waited_seconds: float) -> None:
        if self.metrics:
            self.display.step(result, seconds, waited_seconds)
            if is_due(result.step, self.experiment.config.train.log_every) or result.skipped:
                self.metrics.step(result.to_row())

    def save(self, state: TrainState) -> None:
        """Write the checkpoint of the state's step; from then on it is the parent of the next one."""
        if self.is_main:
            content = header(state, self.experiment.config, self.experiment.corpus.fingerprint)
            state.parent = checkpoints.save(self.run.checkpoint_path(state.step), content, to_tensors(state))

    def exam(self, exam: Exam) -> None:
        if self.metrics:
            self.run.write_exam(exam.step, exam.to_json())
            self.metrics.exam(exam)
            self.display.exam(exam)

    def event(self, kind: str, step: int, message: str, **details: Any) -> None:
        """Note and tell an event, see `Events.add`."""
        if self.is_main:
            self.events.add(kind, step, message, **details)

    def end(self, kind: str, step: int, message: str, **details: Any) -> None:
        """Note an event that ends the command, see `Events.add_end`."""
        if self.is_main:
            self.events.add_end(kind, step, message, **details)
