"""One optimizer step, and the session that repeats it: what train, resume, smoke and resume --verify drive."""

import contextlib
import time
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from hifitse.checkpoint.file import Checkpoint
from hifitse.config.files import from_data
from hifitse.config.schema import Config
from hifitse.distributed.ranks import Ranks
from hifitse.experiment import Experiment
from hifitse.losses import energy_db, places, term_means
from hifitse.metrics import rms
from hifitse.mixing.batch import MicroBatch, of_next_step, step_counts
from hifitse.mixing.curriculum import phase_at
from hifitse.schedule import ema_decay, is_due, learning_rate
from hifitse.training.gradient_guard import Skip
from hifitse.training.memory import as_recorded, fitted
from hifitse.training.state import TrainState, compiling, from_checkpoint, new_state, update_ema

MEMORY_REMEDY = "lower train.micro_batch_size, or recompute (model.activation_checkpointing=true)"


@dataclass(frozen=True)
class StepResult:
    """What one optimizer step measured; a function of the state before it and of its scenes."""

    step: int
    """Completed steps, this one included."""
    phase: str
    learning_rate: float
    loss: float
    terms: dict[str, float]
    """Mean of each term over the scenes that it applies to."""
    weighted_terms: dict[str, float]
    """The same, each times its weight: they add up to the loss."""
    grad_norm: float
    skipped: Skip | None
    """Why the step was not taken (the weights stayed as they were); None where it was."""
    rms_ratio: float | None
    ta_energy_db: float | None

    def to_row(self) -> dict[str, Any]:
        """Return what was measured, for metrics.jsonl."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def figures(self) -> dict[str, float]:
        """Return what can be averaged over steps, see `Window`."""
        row = self.to_row()
        names: tuple[str, ...] = ("loss", "grad_norm", "rms_ratio", "ta_energy_db")
        figures = {name: row[name] for name in names if name in row}
        for name, value in self.terms.items():
            # A term without a scene that it applies to is 0, but was not measured.
            if (self.ta_energy_db if name == "absent" else self.rms_ratio) is not None:
                figures[f"terms.{name}"] = value
        return figures | {f"weighted_terms.{name}": value for name, value in self.weighted_terms.items()}


def due_row(state: TrainState, result: StepResult, log_every: int) -> dict[str, Any] | None:
    """Return the row of metrics.jsonl that is due after a step, or None; call it once a step.

    It holds the means over the steps taken since the row before. A step that was not taken is in none of them: it has
    a row of its own.
    """
    if result.skipped:
        return result.to_row()
    return result.to_row() | state.window.take() if is_due(result.step, log_every) else None


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
    with experiment.ranks.all_or_none(f"step {state.step + 1}", MEMORY_REMEDY):
        for batch in micro_batches:
            assert batch.step == state.step, "the batches are those of the step"
            batch = batch.to(experiment.device)
            with compiling():
                with experiment.autocast():
                    estimate = state.forward(batch.mixture, batch.reference)
                parts = objective.sums(estimate, batch.target, batch.mixture, batch.present, has_absent)
                objective.loss(parts, counts, has_absent).backward()  # type: ignore[no-untyped-call]
            for name, value in (parts | _levels(estimate.detach(), batch)).items():
                sums[name] = sums.get(name, 0) + value.detach()
    _all_reduce(state.model, sums, experiment.ranks)

    with experiment.ranks.all_or_none(f"step {state.step + 1}", MEMORY_REMEDY):
        parts = {name: sums[name] for name in objective.weights(has_absent)}
        measured = {
            "grad_norm": torch.nn.utils.clip_grad_norm_(state.model.parameters(), config.train.clip_norm),
            "loss": objective.loss(parts, counts, has_absent),
            "rms_ratio": sums["rms_estimate"] / sums["rms_target"],
            "energy_db": sums["energy_db"],
        }
        means = term_means(parts, counts)
        # One read: each waits for the device, and what went wrong on it surfaces here.
        values = torch.stack([*measured.values(), *means.values()]).tolist()
    figures = dict(zip([*measured, *means], values, strict=True))
    skipped = state.gradient_guard.judge(config.health, figures["loss"], figures["grad_norm"])
    if skipped is None:
        for group in state.optimizer.param_groups:
            group["lr"] = rate
        state.optimizer.step()
        update_ema(state.ema, state.model, ema_decay(config.train, state.step))
    state.step += 1

    result = StepResult(
        step=state.step,
        phase=phase.name,
        learning_rate=rate,
        loss=figures["loss"],
        terms={name: figures[name] for name in means},
        weighted_terms={name: weight * figures[name] for name, weight in objective.weights(has_absent).items()},
        grad_norm=figures["grad_norm"],
        skipped=skipped,
        rms_ratio=figures["rms_ratio"] if counts.num_present else None,
        ta_energy_db=figures["energy_db"] / counts.num_absent if counts.num_absent else None,
    )
    if skipped is None:
        state.window.add(result.figures())
    return result


class TrainingSession:
    """A state, and the experiment that trains it.

    session = TrainingSession.fresh(experiment)
    losses = [result.loss for result in session.steps(100)]
    """

    def __init__(self, experiment: Experiment, state: TrainState) -> None:
        self.experiment = experiment
        self.state = state
        self.waited_seconds = 0.0
        """How long the steps have waited for their scenes."""

    @property
    def config(self) -> Config:
        """The configuration, in which what was ``auto`` is chosen."""
        return self.experiment.config

    @classmethod
    def fresh(cls, experiment: Experiment) -> "TrainingSession":
        """Begin at step 0, with weights drawn from the seed."""
        experiment = fitted(experiment)
        return cls(experiment, new_state(experiment.config, experiment.device))

    @classmethod
    def resumed(
        cls, experiment: Experiment, checkpoint: Checkpoint, *, reset_optimizer: bool = False
    ) -> "TrainingSession":
        """Begin where a checkpoint was saved, see `from_checkpoint`."""
        recorded = from_data(checkpoint.header.config, f"the checkpoint of step {checkpoint.header.step}")
        experiment = fitted(replace(experiment, config=as_recorded(experiment.config, recorded)))
        state = from_checkpoint(checkpoint, experiment.config, experiment.device, reset_optimizer=reset_optimizer)
        return cls(experiment, state)

    def steps(self, stop: int) -> Generator[StepResult]:
        """Do the steps up to ``stop`` completed ones, each when its result is asked for.

        Closing the generator ends its loader processes.

        Raises:
            HifitseError: a step cannot be done; the state is that of the steps before it.
        """
        with contextlib.closing(self.experiment.training_batches(self.state.step, stop)) as batches:
            waiting = self._waiting_for(batches)
            while self.state.step < stop:
                yield train_step(self.state, of_next_step(waiting), self.experiment)

    def _waiting_for(self, batches: Iterator[MicroBatch]) -> Iterator[MicroBatch]:
        while True:
            started = time.perf_counter()
            try:
                batch = next(batches)
            except StopIteration:
                return
            finally:
                self.waited_seconds += time.perf_counter() - started
            yield batch


def _levels(estimate: Tensor, batch: MicroBatch) -> dict[str, Tensor]:
    tp, ta = places(batch.present, estimate.device)
    return {
        "rms_estimate": rms(estimate[tp]).sum(),
        "rms_target": rms(batch.target[tp]).sum(),
        "energy_db": energy_db(estimate[ta]).sum(),
    }


def _all_reduce(model: nn.Module, sums: dict[str, Tensor], ranks: Ranks) -> None:
    """Replace this rank's gradients and sums by those of the whole step."""
    if ranks.size == 1:
        return
    for parameter in model.parameters():
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    ranks.all_reduce_sum([parameter.grad for parameter in model.parameters() if parameter.grad is not None])
    ranks.all_reduce_sum(list(sums.values()))
