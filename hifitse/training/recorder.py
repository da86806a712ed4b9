"""Everything that a training writes into its run and tells people. Of several ranks, only the main one does."""

import contextlib
from collections.abc import Generator
from types import TracebackType
from typing import Any, Protocol

from torch import Tensor

from hifitse.errors import HifitseError
from hifitse.evaluation.result import ValidationResult
from hifitse.evaluation.retention import prune
from hifitse.experiment import Experiment
from hifitse.json_log import JsonLog
from hifitse.mixing.batch import MicroBatch
from hifitse.runs.events import EventLog
from hifitse.runs.heartbeat import Heartbeat, Pulse
from hifitse.runs.run import Run
from hifitse.tracking.command import EventCommand
from hifitse.tracking.protocol import TrackedRun
from hifitse.tracking.scenes import HeardScene
from hifitse.tracking.trackers import Trackers
from hifitse.training.meter import Meter
from hifitse.training.saving.results import Results
from hifitse.training.saving.saver import Saver
from hifitse.training.state import TrainState
from hifitse.training.step import StepResult, due_row


class Display(Protocol):
    """What people see of a training; a context, on screen inside it."""

    # A row, where there is one, is that of metrics.jsonl.

    def __enter__(self) -> object: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...
    def step(self, beat: Heartbeat, row: dict[str, Any] | None, seconds: float) -> None: ...
    def validation_progress(self, beat: Heartbeat) -> None: ...
    def validation(self, beat: Heartbeat, result: ValidationResult) -> None: ...
    def message(self, text: str) -> None: ...


class Recorder:
    """What the methods here do, only the main rank does; on the others they do nothing.

    A context: inside it the heart of the run beats, and events go to ``on_event``.
    """

    def __init__(self, run: Run, display: Display, experiment: Experiment, first_step: int, stop_at: int) -> None:
        self.run, self.display, self.experiment = run, display, experiment
        self.is_main = experiment.ranks.is_main
        self.meter = Meter(experiment, first_step, stop_at)
        command = experiment.config.on_event if self.is_main else ()
        self.command = EventCommand(command) if command else None
        self.events = EventLog(run, display.message, self.command.send if self.command else None)
        self.rows = JsonLog(run.metrics_path)
        self.trackers: Trackers | None = None
        self.saver: Saver | None = None
        self.results: Results | None = None
        self.heard: dict[int, HeardScene] = {}
        """Of the validation that goes on, by their indices."""
        self.context = contextlib.ExitStack()

    def __enter__(self) -> "Recorder":
        if self.is_main:
            self.context.enter_context(Pulse(self.run, lambda: self.meter.beat))
            self.context.callback(self._tell_failures)
            if self.command:
                self.context.enter_context(self.command)
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()

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
        limit_minutes = self.experiment.config.train.save_minutes
        # The trackers end last: they send what the others have written.
        with (
            self._tracked(step) as self.trackers,
            Results(self.run, self.events, self.rows, limit_minutes) as self.results,
            Saver(self.run, self.experiment, self.events, self.rows, self._prune) as self.saver,
        ):
            yield

    def step(self, result: StepResult, state: TrainState, seconds: float, waited_seconds: float) -> None:
        if not self.trackers:
            return
        self.meter.step(result, seconds, waited_seconds)
        row = due_row(state, result, self.experiment.config.train.log_every)
        if row:
            row = {"kind": "step", **row, "machine": self.meter.take()}
        self.display.step(self.meter.beat, row, seconds)
        if row:
            self.rows.append(row)
        self._report_troubles(self.trackers, result.step)

    def hear(self, batch: MicroBatch, estimate: Tensor) -> None:
        """Keep the first scenes of a validation for the trackers, of those that the main rank measures."""
        for place, index in enumerate(batch.indices):
            if self.trackers and index < self.trackers.num_scenes:
                parts = (batch.mixture, batch.reference, batch.target, estimate)
                self.heard[index] = HeardScene(index, *(part[place].float().cpu().numpy() for part in parts))

    def validation_progress(self, num_scenes: int) -> None:
        """Say how many scenes of a validation are done."""
        if self.is_main:
            self.meter.validating(num_scenes)
            self.display.validation_progress(self.meter.beat)

    def validation(self, result: ValidationResult) -> None:
        """Keep a validation result, and the row that says it is there."""
        if not (self.trackers and self.results):
            return
        self.meter.validated()
        self.display.validation(self.meter.beat, result)
        self.results.add(result)
        self.trackers.hear(result.step, list(self.heard.values()))
        self.heard = {}

    def save(self, state: TrainState) -> None:
        """Begin to save a state, see `Saver.save`."""
        if self.saver:
            self.saver.save(state)

    def poll(self) -> None:
        """Look after what is being saved, see `Saver.poll` and `Results.poll`, and after the commands of events."""
        if self.saver and self.results:
            self.saver.poll()
            self.results.poll()
        self._tell_failures()

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

    @contextlib.contextmanager
    def _tracked(self, step: int) -> Generator[Trackers]:
        """Begin the trackers of the branch that follows a step."""
        archived = self.run.archived_folders()
        branch = 1 + (int(archived[-1].name) if archived else 0)
        # What a command of this machine is called is nobody else's business.
        config = self.experiment.config.model_copy(update={"on_event": ()})
        trackers = Trackers(TrackedRun(self.run.path, branch, config))
        try:
            with trackers:
                yield trackers
        finally:
            self._report_troubles(trackers, step)

    def _report_troubles(self, trackers: Trackers, step: int) -> None:
        for trouble in trackers.troubles():
            self.events.report("tracking_failed", step, trouble)

    def _tell_failures(self) -> None:
        for event, reason in self.command.failed() if self.command else ():
            message = f"on_event: the command failed for the event {event['kind']}: {reason}"
            self.events.report("on_event_failed", event["step"], message)

    def _prune(self) -> None:
        prune(self.run, self.experiment.config, self.events)
