"""The training: a step is mathematics, the loop is cadence."""

import contextlib
import time
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from hifitse.batches import MicroBatch, of_next_step, step_counts
from hifitse.config import TrainConfig
from hifitse.curriculum import phase_at
from hifitse.errors import Interrupted
from hifitse.events import Events
from hifitse.experiment import Experiment
from hifitse.gradient_watch import Skip
from hifitse.interrupts import Interrupts
from hifitse.losses import energy_db, term_means
from hifitse.metrics import rms
from hifitse.metrics_log import MetricsLog
from hifitse.recovery import Alarm, judge_exam, judge_step, readings, recover
from hifitse.runs import Run
from hifitse.saving import Saver
from hifitse.schedule import ema_decay, is_due, learning_rate
from hifitse.state import TrainState, update_ema
from hifitse.validation import Exam, exam_digest, validate


@dataclass(frozen=True)
class StepResult:
    """What one optimizer step measured; a function of the state before it and of its scenes."""

    step: int
    """Completed steps, this one included."""
    phase: str
    learning_rate: float
    loss: float
    terms: dict[str, float]
    grad_norm: float
    skipped: Skip | None
    """Why the step was not taken (the weights stayed as they were); None where it was."""
    rms_ratio: float | None
    ta_energy_db: float | None

    def to_row(self) -> dict[str, object]:
        """Return the row for metrics.jsonl."""
        return {name: value for name, value in vars(self).items() if value is not None}


class Display(Protocol):
    """What the loop tells about its progress."""

    def step(self, result: StepResult, seconds: float, waited_seconds: float) -> None: ...
    def exam_progress(self, num_scenes: int) -> None: ...
    def exam(self, exam: Exam) -> None: ...
    def message(self, text: str) -> None: ...


def train_step(state: TrainState, micro_batches: Iterable[MicroBatch], experiment: Experiment) -> StepResult:
    """Do one optimizer step on all micro-batches of the step ``state.step``, and count it."""
    config, objective = experiment.config, experiment.objective
    phase = phase_at(config, state.step)
    counts = step_counts(config, state.step)
    has_absent = phase.absent_ratio > 0
    rate = learning_rate(config.train, state.step, state.optimizer_reset_step) * state.learning_rate_factor

    sums: dict[str, Tensor] = {}
    state.optimizer.zero_grad(set_to_none=True)
    for batch in micro_batches:
        assert batch.step == state.step, "the batches are those of the step"
        batch = batch.to(experiment.device)
        with experiment.autocast():
            estimate = state.model(batch.mixture, batch.reference)
        parts = objective.sums(estimate, batch.target, batch.mixture, batch.present, has_absent)
        objective.loss(parts, counts, has_absent).backward()  # type: ignore[no-untyped-call]
        for name, value in (parts | _levels(estimate.detach(), batch)).items():
            sums[name] = sums.get(name, 0) + value.detach()

    grad_norm = torch.nn.utils.clip_grad_norm_(state.model.parameters(), config.train.clip_norm).item()
    parts = {name: sums[name] for name in objective.weights(has_absent)}
    loss = objective.loss(parts, counts, has_absent).item()
    skipped = state.watch.judge(config.health, loss, grad_norm)
    if skipped is None:
        for group in state.optimizer.param_groups:
            group["lr"] = rate
        state.optimizer.step()
        update_ema(state.ema, state.model, ema_decay(config.train, state.step))
    state.step += 1

    return StepResult(
        step=state.step,
        phase=phase.name,
        learning_rate=rate,
        loss=loss,
        terms={name: value.item() for name, value in term_means(parts, counts).items()},
        grad_norm=grad_norm,
        skipped=skipped,
        rms_ratio=(sums["rms_estimate"] / sums["rms_target"]).item() if counts.num_present else None,
        ta_energy_db=sums["energy_db"].item() / counts.num_absent if counts.num_absent else None,
    )


def _levels(estimate: Tensor, batch: MicroBatch) -> dict[str, Tensor]:
    return {
        "rms_estimate": rms(estimate[batch.present]).sum(),
        "rms_target": rms(batch.target[batch.present]).sum(),
        "energy_db": energy_db(estimate[~batch.present]).sum(),
    }


def train(
    state: TrainState, experiment: Experiment, run: Run, display: Display, interrupts: Interrupts, stop_at: int
) -> TrainState:
    """Train until ``stop_at`` completed steps, and go back to a healthy checkpoint when a guard says so.

    Returns:
        The state at the end: another one than was given, if a guard sent it back.

    Raises:
        CheckpointError: the state could not be saved, in many attempts.
        Interrupted: a signal arrived; the state is saved.
        StoppedError: a guard stopped the run; the state is saved.
    """
    events = Events(run, display.message)
    digest = exam_digest(experiment)
    if leftovers := run.remove_leftovers():
        events.note("cleaned", state.step, f"removed what a killed process had not finished: {', '.join(leftovers)}")
    events.add("resumed" if state.parent else "started", state.step, f"training from step {state.step}")
    while True:
        try:
            _train(state, experiment, run, display, events, interrupts, stop_at)
        except Alarm as alarm:
            state = recover(alarm, state, experiment, run, readings(run, digest, state.step), events)
        except Interrupted as interrupted:
            events.add_end("interrupted", state.step, str(interrupted))
            raise
        else:
            is_end = stop_at == experiment.config.train.total_steps
            events.add("finished" if is_end else "paused", stop_at, f"{stop_at} steps are done")
            return state


def _train(
    state: TrainState,
    experiment: Experiment,
    run: Run,
    display: Display,
    events: Events,
    interrupts: Interrupts,
    stop_at: int,
) -> None:
    """The cadence: step, log, save, validate."""
    config = experiment.config
    phase_ends = {phase.until for phase in config.curriculum}
    batches = _Timed(experiment.training_batches(state.step, stop_at))
    log = MetricsLog(run, state.step)
    with contextlib.closing(batches), Saver(run, experiment, events, log.rows) as saver:
        if _exam_due(state.step, config.train):
            if run.is_examined(state.step) or examine(state, experiment, run, log, display, events):
                judge_exam(state, experiment, run, events)
        while state.step < stop_at:
            started, waited = time.perf_counter(), batches.waited_seconds
            result = train_step(state, of_next_step(batches), experiment)
            display.step(result, time.perf_counter() - started, batches.waited_seconds - waited)
            if is_due(state.step, config.train.log_every) or result.skipped:
                log.step(result.to_row())

            alarm = judge_step(result, state, experiment, events)
            exam_due = _exam_due(state.step, config.train)
            save_due = is_due(state.step, config.train.checkpoint_every) or state.step in phase_ends
            if alarm or interrupts.received or exam_due or save_due or state.step == stop_at:
                saver.save(state)
            saver.tend()
            if alarm:
                raise alarm
            if exam_due and examine(state, experiment, run, log, display, events):
                judge_exam(state, experiment, run, events)
            if interrupts.received:
                raise Interrupted(f"interrupted after step {state.step}; the state is saved", interrupts.received)


def examine(
    state: TrainState, experiment: Experiment, run: Run, log: MetricsLog, display: Display, events: Events
) -> bool:
    """Let the weights sit the exam, and keep the result; tell whether it could be kept."""
    exam = validate(state.ema, state.model, experiment, state.step, display.exam_progress)
    display.exam(exam)
    try:
        run.write_exam(exam.step, exam.to_json())
    except OSError as error:
        message = f"{run.exam_path(exam.step)}: could not be written ({error.strerror}); free the disk or mend the "
        message += f"folder, then repeat it with hifitse validate --run {run.argument} --from {exam.step}"
        events.add("exam_failed", exam.step, message)
        return False
    log.exam(exam)
    return True


def _exam_due(step: int, config: TrainConfig) -> bool:
    return is_due(step, config.validate_every) or step == config.total_steps


class _Timed:
    """An iterator that adds up how long its consumer waited."""

    def __init__(self, iterator: Generator[MicroBatch]) -> None:
        self.iterator = iterator
        self.waited_seconds = 0.0

    def __iter__(self) -> "_Timed":
        return self

    def __next__(self) -> MicroBatch:
        started = time.perf_counter()
        try:
            return next(self.iterator)
        finally:
            self.waited_seconds += time.perf_counter() - started

    def close(self) -> None:
        self.iterator.close()
