"""The loop around the steps: log, save, validate, and what ends it."""

import contextlib
import functools
import time
import traceback
from collections.abc import Callable, Generator
from typing import TypeVar

from hifitse import console
from hifitse.checkpoint.file import load_checkpoint
from hifitse.config.schema import TrainConfig
from hifitse.distributed.signals import Interrupts
from hifitse.errors import CheckpointError, HifitseError, Interrupted, LoaderError, StoppedError
from hifitse.evaluation.guards import Alarm
from hifitse.evaluation.result import ValidationResult
from hifitse.evaluation.validation import validate
from hifitse.runs.events import EventLog
from hifitse.runs.records import is_validated
from hifitse.runs.run import Run
from hifitse.schedule import is_due
from hifitse.tracking.trackers import require_packages
from hifitse.training.recorder import Display, Recorder
from hifitse.training.recovery import judge_step, judge_validation, recover, unfinished_rollback
from hifitse.training.state import TrainState, from_checkpoint
from hifitse.training.step import StepResult, TrainingSession

T = TypeVar("T")


def train_run(
    session: TrainingSession, run: Run, display: Display, stop_at: int, prepare: Callable[[EventLog], None]
) -> None:
    """Train in a run until ``stop_at`` completed steps, holding its lock; signals end the training in order.

    Args:
        prepare: makes the run ready to be trained; called with the lock held, and with where it logs its events. Like
            the lock, it is the main rank's.

    Raises:
        UsageError: another process trains the run, or the package of a tracker is not installed.
        HifitseError: as `train`.
    """
    ranks = session.experiment.ranks
    require_packages(session.config.tracking)
    with contextlib.ExitStack() as stack:
        stack.enter_context(console.lasting_streams())
        if ranks.is_main:
            stack.enter_context(run.lock())
        # Until here every rank has only read.
        ranks.barrier()
        recorder = Recorder(run, display, session.experiment, session.state.step, stop_at)
        ranks.on_main(lambda: prepare(recorder.events))
        # The folder of a fork is in its place only now.
        if ranks.is_main:
            console.also_into(run.log_path)
        stack.enter_context(recorder)
        interrupts = stack.enter_context(Interrupts(console.urgent))
        stack.enter_context(display)
        train(session, recorder, interrupts, stop_at)


def train(session: TrainingSession, recorder: Recorder, interrupts: Interrupts, stop_at: int) -> None:
    """Train until ``stop_at`` completed steps, and return to a healthy checkpoint when a guard says so.

    Raises:
        CheckpointError: the state could not be saved, in many attempts.
        HifitseError: a step cannot be done; those before it are saved.
        Interrupted: a signal arrived; the state is saved.
        StoppedError: a guard stopped the run; the state is saved.
    """
    experiment, config, ranks, run = session.experiment, session.config, session.experiment.ranks, recorder.run
    start = session.state.step
    recorder.event("resumed" if start else "started", start, f"training from step {start}")
    while True:
        try:
            alarm = _train(session, recorder, interrupts, stop_at)
        except Interrupted as interrupted:
            recorder.end("interrupted", session.state.step, str(interrupted))
            ranks.barrier()
            raise
        except StoppedError:
            raise
        except Exception as error:
            text = "".join(traceback.format_exception(error))
            recorder.end("failed", session.state.step, str(error) or type(error).__name__, traceback=text)
            raise
        if alarm is None:
            break
        # Every rank reads the file; nothing but its path is sent.
        path = ranks.on_main(functools.partial(recover, alarm, session.state, experiment, run, recorder.events))
        session.state = from_checkpoint(load_checkpoint(path), config, experiment.device)
    recorder.event(
        "finished" if stop_at == config.train.total_steps else "paused", stop_at, f"{stop_at} steps are done"
    )
    ranks.barrier()


class _Steps:
    """The steps to come; a context, on leaving which their loader processes end."""

    def __init__(self, session: TrainingSession, stop_at: int) -> None:
        self.session, self.stop_at = session, stop_at
        self._steps = session.steps(stop_at)

    def __enter__(self) -> "_Steps":
        return self

    def __exit__(self, *_: object) -> None:
        self._steps.close()

    def next(self) -> StepResult:
        return next(self._steps)

    def restart(self) -> None:
        """Go on from the state, with new loader processes."""
        self._steps.close()
        self._steps = self.session.steps(self.stop_at)


def _train(session: TrainingSession, recorder: Recorder, interrupts: Interrupts, stop_at: int) -> Alarm | None:
    """The cadence. Return the alarm of a guard that acts, or None at the end; both are agreed among the ranks."""
    state, config, ranks = session.state, session.experiment.config, session.experiment.ranks
    phase_ends = {phase.until for phase in config.curriculum}
    with recorder.branch(state.step), _Steps(session, stop_at) as steps:
        alarm = unfinished_rollback(state, config)
        if not alarm and _validation_due(state.step, config.train):
            alarm = _run_validation(steps, recorder, interrupts)
        while not alarm and state.step < stop_at:
            started, waited = time.perf_counter(), session.waited_seconds
            # An error of another kind may leave a step half done.
            with _saving(state, recorder, HifitseError):
                result = _loading("after", steps.next, steps, recorder)
            with _saving(state, recorder, Exception):
                recorder.step(result, state, time.perf_counter() - started, session.waited_seconds - waited)
                received = ranks.all_reduce_max(interrupts.received or 0)
                alarm = judge_step(result, state, config, recorder)
                validation_due = _validation_due(state.step, config.train)
                save_due = is_due(state.step, config.train.checkpoint_every) or state.step in phase_ends
                if alarm or received or validation_due or save_due or state.step == stop_at:
                    recorder.save(state)
                recorder.poll()
                if received and not alarm:
                    raise Interrupted(f"interrupted after step {state.step}; the state is saved", received)
                if validation_due and not alarm:
                    alarm = _run_validation(steps, recorder, interrupts)
    return alarm


@contextlib.contextmanager
def _saving(state: TrainState, recorder: Recorder, errors: type[Exception]) -> Generator[None]:
    """Save the steps that are done where one of these errors ends the training."""
    try:
        yield
    except Interrupted:
        recorder.save(state)
        raise
    except CheckpointError:
        # It is the saving that has failed, and often enough.
        raise
    except errors:
        recorder.save_now(state)
        raise


def _loading(where: str, action: Callable[[], T], steps: _Steps, recorder: Recorder) -> T:
    """Do what needs scenes; where loader processes fail, start new ones for the same place, once.

    Scenes are a function of their index, so that changes nothing.
    """
    state = steps.session.state
    for is_last in (False, True):
        try:
            return action()
        except Interrupted as interrupted:
            message = f"interrupted {where} step {state.step}; the state is saved"
            raise Interrupted(message, interrupted.signal_number) from None
        except LoaderError as error:
            if is_last:
                raise
            recorder.save_now(state)
            recorder.event("loader_failed", state.step, f"{error}. They are started again")
            steps.restart()
    raise AssertionError("the last attempt returns or raises")


def _run_validation(steps: _Steps, recorder: Recorder, interrupts: Interrupts) -> Alarm | None:
    """Validate the weights at their step, if that was not done yet, and return the alarm if a guard acts.

    Raises:
        Interrupted: a signal arrived; the validation is repeated when the run is resumed.
    """
    experiment, run, state = steps.session.experiment, recorder.run, steps.session.state
    ranks = experiment.ranks

    def progress(num_scenes: int) -> None:
        recorder.validation_progress(num_scenes)
        if received := ranks.all_reduce_max(interrupts.received or 0):
            raise Interrupted("interrupted", received)

    def measure() -> ValidationResult:
        return validate(state.ema, state.model, experiment, state.step, progress, hear=recorder.hear)

    if not ranks.on_main(lambda: is_validated(run, state.step)):
        recorder.validation(_loading("in the validation of", measure, steps, recorder))
    return ranks.on_main(lambda: judge_validation(state.step, experiment, run, recorder))


def _validation_due(step: int, config: TrainConfig) -> bool:
    return is_due(step, config.validate_every) or step == config.total_steps
