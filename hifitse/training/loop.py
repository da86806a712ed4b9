"""The training: a step is mathematics, the loop is cadence."""

import contextlib
import functools
import time
import traceback
from collections.abc import Generator, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hifitse.config.schema import TrainConfig
from hifitse.distributed.ranks import Ranks
from hifitse.distributed.signals import Interrupts
from hifitse.errors import HifitseError, Interrupted
from hifitse.evaluation.guards import Alarm
from hifitse.evaluation.validation import validate
from hifitse.experiment import Experiment
from hifitse.losses import energy_db, term_means
from hifitse.metrics import rms
from hifitse.mixing.curriculum import phase_at
from hifitse.mixing.loader import MicroBatch, of_next_step, step_counts
from hifitse.runs.run import Run
from hifitse.schedule import ema_decay, is_due, learning_rate
from hifitse.training.gradient_guard import Skip
from hifitse.training.recorder import Display, Logbook
from hifitse.training.recovery import judge_exam, judge_step, recover, unfinished_rollback
from hifitse.training.state import TrainState, from_checkpoint, update_ema


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


def train_step(state: TrainState, micro_batches: Iterable[MicroBatch], experiment: Experiment) -> StepResult:
    """Do one optimizer step on all micro-batches of the step ``state.step``, and count it.

    Raises:
        HifitseError: it cannot be done, here or on another rank; the state is that of the steps before it.
    """
    config, objective = experiment.config, experiment.objective
    phase = phase_at(config, state.step)
    counts = step_counts(config, state.step)
    has_absent = phase.absent_ratio > 0
    rate = learning_rate(config.train, state.step, state.optimizer_reset_step) * state.learning_rate_factor

    sums: dict[str, Tensor] = {}
    state.optimizer.zero_grad(set_to_none=True)
    with _agreed(state.step, experiment.ranks):
        for batch in micro_batches:
            assert batch.step == state.step, "the batches are those of the step"
            batch = batch.to(experiment.device)
            with experiment.autocast():
                estimate = state.model(batch.mixture, batch.reference)
            parts = objective.sums(estimate, batch.target, batch.mixture, batch.present, has_absent)
            objective.loss(parts, counts, has_absent).backward()  # type: ignore[no-untyped-call]
            for name, value in (parts | _levels(estimate.detach(), batch)).items():
                sums[name] = sums.get(name, 0) + value.detach()
    _add_up(state.model, sums, experiment.ranks)

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


@contextlib.contextmanager
def _agreed(step: int, ranks: Ranks) -> Generator[None]:
    """Let all ranks fail where one does: nothing of the state has changed yet, so the main one can still save it."""
    failed: HifitseError | None = None
    try:
        yield
    except HifitseError as error:
        failed = error
    except (RuntimeError, MemoryError) as error:
        # Out of memory, most of all.
        failed = HifitseError(f"step {step + 1} cannot be done: {error} (events.jsonl has the traceback)")
        failed.__cause__ = error
    if ranks.largest(int(failed is not None)):
        raise failed or HifitseError(f"another rank cannot do step {step + 1}")


def _add_up(model: nn.Module, sums: dict[str, Tensor], ranks: Ranks) -> None:
    """Replace this rank's gradients and sums by those of the whole step."""
    if ranks.size == 1:
        return
    for parameter in model.parameters():
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    ranks.add_up([parameter.grad for parameter in model.parameters() if parameter.grad is not None])
    ranks.add_up(list(sums.values()))


def train(
    state: TrainState, experiment: Experiment, run: Run, display: Display, interrupts: Interrupts, stop_at: int
) -> TrainState:
    """Train until ``stop_at`` completed steps, and go back to a healthy checkpoint when a guard says so.

    Returns:
        The state at the end: another one than was given, if a guard sent it back.

    Raises:
        CheckpointError: the state could not be saved, in many attempts.
        HifitseError: a step cannot be done; those before it are saved.
        Interrupted: a signal arrived; the state is saved.
        StoppedError: a guard stopped the run; the state is saved.
    """
    config, ranks = experiment.config, experiment.ranks
    log = Logbook(run, display, experiment)
    log.event("resumed" if state.parent else "started", state.step, f"training from step {state.step}")
    while True:
        try:
            _train(state, experiment, log, interrupts, stop_at)
        except Alarm as alarm:
            checkpoint = ranks.on_main(functools.partial(recover, alarm, state, experiment, run, log.events))
            state = from_checkpoint(checkpoint, config, experiment.device)
        except Interrupted as interrupted:
            log.end("interrupted", state.step, str(interrupted))
            ranks.wait()
            raise
        except HifitseError as error:
            cause = "".join(traceback.format_exception(error.__cause__)) if error.__cause__ else None
            log.end("failed", state.step, str(error), traceback=cause)
            raise
        else:
            is_end = stop_at == config.train.total_steps
            log.event("finished" if is_end else "paused", stop_at, f"{stop_at} steps are done")
            ranks.wait()
            return state


def _train(state: TrainState, experiment: Experiment, log: Logbook, interrupts: Interrupts, stop_at: int) -> None:
    """The cadence: step, log, save, validate. What ends it is agreed among the ranks."""
    config, ranks = experiment.config, experiment.ranks
    phase_ends = {phase.until for phase in config.curriculum}
    batches = _Timed(experiment.training_batches(state.step, stop_at))
    with log.line(state.step), contextlib.closing(batches):
        if alarm := unfinished_rollback(state, config):
            raise alarm
        if _exam_due(state.step, config.train):
            examine(state, experiment, log, interrupts)
        while state.step < stop_at:
            started, waited = time.perf_counter(), batches.waited_seconds
            try:
                result = train_step(state, of_next_step(batches), experiment)
                log.step(result, time.perf_counter() - started, batches.waited_seconds - waited)
                received = ranks.largest(interrupts.received or 0)
            except HifitseError:
                log.rescue(state)
                raise
            alarm = judge_step(result, state, experiment, log)
            exam_due = _exam_due(state.step, config.train)
            save_due = is_due(state.step, config.train.checkpoint_every) or state.step in phase_ends
            if alarm or received or exam_due or save_due or state.step == stop_at:
                log.save(state)
            log.tend()
            if alarm:
                raise alarm
            if received:
                raise Interrupted(f"interrupted after step {state.step}; the state is saved", received)
            if exam_due:
                examine(state, experiment, log, interrupts)


def examine(state: TrainState, experiment: Experiment, log: Logbook, interrupts: Interrupts) -> None:
    """Let the weights sit the exam of their step, if they have not yet, and judge the result.

    Raises:
        Alarm: a guard acts.
        Interrupted: a signal arrived; the exam is held again when the run is resumed.
    """
    ranks, run, step = experiment.ranks, log.run, state.step

    def progress(num_scenes: int) -> None:
        log.display.exam_progress(num_scenes)
        if received := ranks.largest(interrupts.received or 0):
            raise Interrupted(f"interrupted in the validation of step {step}; the state is saved", received)

    if not ranks.on_main(lambda: run.is_examined(step)):
        log.exam(validate(state.ema, state.model, experiment, step, progress))
    if alarm := ranks.on_main(lambda: judge_exam(step, experiment, run, log)):
        raise alarm


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
