"""The loop around the steps: log, save, validate, and what ends it."""

import contextlib
import functools
import time
import traceback
from collections.abc import Callable

from hifitse.checkpoint.file import load_checkpoint
from hifitse.config.schema import TrainConfig
from hifitse.distributed.signals import Interrupts
from hifitse.errors import HifitseError, Interrupted
from hifitse.evaluation.guards import Alarm
from hifitse.evaluation.validation import validate
from hifitse.runs.records import is_validated
from hifitse.runs.run import Run
from hifitse.schedule import is_due
from hifitse.training.recorder import Display, Recorder
from hifitse.training.recovery import judge_step, judge_validation, recover, unfinished_rollback
from hifitse.training.state import from_checkpoint
from hifitse.training.step import TrainingSession


def train_run(session: TrainingSession, run: Run, display: Display, stop_at: int, prepare: Callable[[], None]) -> None:
    """Train in a run until ``stop_at`` completed steps, holding its lock; signals end the training in order.

    Args:
        prepare: makes the run ready to be trained; called with the lock held. Like the lock, it is the main rank's.

    Raises:
        UsageError: another process trains the run.
        HifitseError: as `train`.
    """
    ranks = session.experiment.ranks
    with contextlib.ExitStack() as stack:
        if ranks.is_main:
            stack.enter_context(run.lock())
        # Until here every rank has only read.
        ranks.barrier()
        ranks.on_main(prepare)
        interrupts = stack.enter_context(Interrupts())
        stack.enter_context(display)
        train(session, run, display, interrupts, stop_at)


def train(session: TrainingSession, run: Run, display: Display, interrupts: Interrupts, stop_at: int) -> None:
    """Train until ``stop_at`` completed steps, and return to a healthy checkpoint when a guard says so.

    Raises:
        CheckpointError: the state could not be saved, in many attempts.
        HifitseError: a step cannot be done; those before it are saved.
        Interrupted: a signal arrived; the state is saved.
        StoppedError: a guard stopped the run; the state is saved.
    """
    experiment, config, ranks = session.experiment, session.experiment.config, session.experiment.ranks
    recorder = Recorder(run, display, experiment)
    start = session.state.step
    recorder.event("resumed" if session.state.parent else "started", start, f"training from step {start}")
    while True:
        try:
            alarm = _train(session, recorder, interrupts, stop_at)
        except Interrupted as interrupted:
            recorder.end("interrupted", session.state.step, str(interrupted))
            ranks.barrier()
            raise
        except HifitseError as error:
            cause = "".join(traceback.format_exception(error.__cause__)) if error.__cause__ else None
            recorder.end("failed", session.state.step, str(error), traceback=cause)
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


def _train(session: TrainingSession, recorder: Recorder, interrupts: Interrupts, stop_at: int) -> Alarm | None:
    """The cadence. Return the alarm of a guard that acts, or None at the end; both are agreed among the ranks."""
    state, config, ranks = session.state, session.experiment.config, session.experiment.ranks
    phase_ends = {phase.until for phase in config.curriculum}
    with recorder.branch(state.step), contextlib.closing(session.steps(stop_at)) as steps:
        alarm = unfinished_rollback(state, config)
        if not alarm and _validation_due(state.step, config.train):
            alarm = run_validation(session, recorder, interrupts)
        while not alarm and state.step < stop_at:
            started, waited = time.perf_counter(), session.waited_seconds
            try:
                result = next(steps)
                recorder.step(result, time.perf_counter() - started, session.waited_seconds - waited)
                received = ranks.all_reduce_max(interrupts.received or 0)
            except HifitseError:
                recorder.save_now(state)
                raise
            alarm = judge_step(result, state, config, recorder)
            validation_due = _validation_due(state.step, config.train)
            save_due = is_due(state.step, config.train.checkpoint_every) or state.step in phase_ends
            if alarm or received or validation_due or save_due or state.step == stop_at:
                recorder.save(state)
            recorder.poll()
            if received and not alarm:
                raise Interrupted(f"interrupted after step {state.step}; the state is saved", received)
            if validation_due and not alarm:
                alarm = run_validation(session, recorder, interrupts)
    return alarm


def run_validation(session: TrainingSession, recorder: Recorder, interrupts: Interrupts) -> Alarm | None:
    """Validate the weights at their step, if that was not done yet, and return the alarm if a guard acts.

    Raises:
        Interrupted: a signal arrived; the validation is repeated when the run is resumed.
    """
    experiment, run, state = session.experiment, recorder.run, session.state
    ranks = experiment.ranks

    def progress(num_scenes: int) -> None:
        recorder.display.validation_progress(num_scenes)
        if received := ranks.all_reduce_max(interrupts.received or 0):
            raise Interrupted(f"interrupted in the validation of step {state.step}; the state is saved", received)

    if not ranks.on_main(lambda: is_validated(run, state.step)):
        recorder.validation(validate(state.ema, state.model, experiment, state.step, progress))
    return ranks.on_main(lambda: judge_validation(state.step, experiment, run, recorder))


def _validation_due(step: int, config: TrainConfig) -> bool:
    return is_due(step, config.validate_every) or step == config.total_steps
