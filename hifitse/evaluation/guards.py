"""The guards on validations: a pure judgement of all validations of a branch, oldest to newest.

The EMA weights are the ones that are used, but they lag: a collapse shows in the model weights first. Both are
validated, and a guard acts on either.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from hifitse.checkpoint.file import Checkpoint, load_checkpoint
from hifitse.config.policies import Action, Guard
from hifitse.config.schema import Config
from hifitse.errors import CheckpointError
from hifitse.evaluation.bounds import Bound
from hifitse.evaluation.result import comparable_results
from hifitse.metrics import METRICS
from hifitse.mixing.curriculum import phase_at
from hifitse.runs.run import Run

Weights = Literal["EMA", "model"]


@dataclass(frozen=True)
class StepMetrics:
    """What one validation says about a checkpoint."""

    step: int
    """Completed steps."""
    ema: dict[str, float]
    """Metrics of the EMA weights."""
    model: dict[str, float]
    """Metrics of the weights in training."""

    def of(self, weights: Weights) -> dict[str, float]:
        return self.ema if weights == "EMA" else self.model


@dataclass(frozen=True)
class Violation:
    """A guard found the newest validation unhealthy."""

    guard: Guard
    weights: Weights
    bound: Bound
    values: tuple[tuple[int, float], ...]
    """(step, value) of the unhealthy validations in a row, the newest last."""

    @property
    def acts(self) -> bool:
        """Whether the guard's patience is at its end."""
        return len(self.values) >= self.guard.patience

    @property
    def action(self) -> Action:
        """What to do now: short of its patience, a guard only warns."""
        return self.guard.action if self.acts else "warn"

    @property
    def message(self) -> str:
        metric = self.bound.metric
        *before, (step, value) = self.values
        text = f"{metric.name} {value:.3f} {metric.unit}".rstrip()
        text += f" of the {self.weights} weights at step {step} is {self.bound.side} {self.bound.value:.4g}"
        if self.guard.behind_best is not None:
            text += f" ({self.guard.behind_best:g} behind the best so far)"
        if before:
            earlier = ", ".join(f"{value:.3f} at step {step}" for step, value in before[-3:])
            text += f", after {earlier}"
        return text


@dataclass(frozen=True)
class Alarm:
    """A guard acts: the run stops, or is rolled back."""

    guard: str
    action: Action
    message: str


def judge(config: Config, history: Sequence[StepMetrics]) -> list[Violation]:
    """Return what is unhealthy about the last validation, judged by all of them; the most severe first.

    Args:
        history: all validations of the branch, ascending by step.
    """
    found = [
        violation
        for guard in config.health.guards
        if guard.action != "ignore" and history
        for weights in ("EMA", "model")
        if (violation := _violation(guard, weights, config, history))
    ]
    severity = {"stop": 0, "rollback": 1, "warn": 2}
    return sorted(found, key=lambda violation: severity[violation.action])


def is_healthy(config: Config, history: Sequence[StepMetrics]) -> bool:
    """Tell whether no guard that stops or rolls back finds anything in the last validation, not even at first."""
    return all(violation.guard.action == "warn" for violation in judge(config, history))


def gate(config: Config) -> list[Bound]:
    """Return the bounds on single values, which a checkpoint must keep to be selected."""
    return [bound for guard in config.health.guards if guard.gate and (bound := _bound(guard, config))]


def read_history(run: Run, scenes_digest: str, last_step: int) -> list[StepMetrics]:
    """Return what the validations of a run on the scenes of that digest say, up to a step."""
    results = comparable_results(run, scenes_digest, last_step)
    return [StepMetrics(result.step, result.metrics, result.model_metrics) for result in results]


def newest_healthy(run: Run, config: Config, history: Sequence[StepMetrics]) -> Checkpoint | None:
    """Return the newest valid checkpoint whose validation no guard objects to, or None."""
    for end in range(len(history), 0, -1):
        if is_healthy(config, history[:end]):
            try:
                return load_checkpoint(run.checkpoint_path(history[end - 1].step))
            except CheckpointError:
                continue
    return None


def _violation(guard: Guard, weights: Weights, config: Config, history: Sequence[StepMetrics]) -> Violation | None:
    values: list[tuple[int, float]] = []
    newest = None
    for end in range(len(history), 0, -1):
        step, metrics = history[end - 1].step, history[end - 1].of(weights)
        bound = _bound(guard, config) or _bound_behind_best(guard, weights, history[:end])
        if bound.metric.name not in metrics:
            # Validated by a version that did not measure it: nothing is known against it.
            break
        if (guard.phases == "with_ta" and not _has_absent(config, step)) or bound.violation(metrics) is None:
            break
        newest = newest or bound
        values.insert(0, (step, metrics[bound.metric.name]))
    return Violation(guard, weights, newest, tuple(values)) if newest else None


def _has_absent(config: Config, step: int) -> bool:
    """Tell whether the last of these completed steps mixed TA scenes: a phase is judged by its own work."""
    return phase_at(config, max(step - 1, 0)).absent_ratio > 0


def _bound(guard: Guard, config: Config) -> Bound | None:
    """Return the bound of a guard, or None where it depends on the validations before."""
    metric = METRICS[guard.metric]
    if guard.below is not None:
        return Bound(metric, True, guard.below)
    if guard.above is not None:
        return Bound(metric, False, guard.above)
    if guard.below_target is not None:
        absent = config.loss.absent
        # The target of these is a level below the mixture; of relative the one at which it costs 3 dB.
        suppression = {"suppression": absent.suppression_db, "relative": -10 * math.log10(absent.relative_floor)}
        if absent.kind in suppression:
            return Bound(METRICS["ta_suppression_db"], False, suppression[absent.kind] + guard.below_target)
        return Bound(metric, True, absent.target_db - guard.below_target)
    return None


def _bound_behind_best(guard: Guard, weights: Weights, history: Sequence[StepMetrics]) -> Bound:
    assert guard.behind_best is not None, "a guard has one bound"
    metric = METRICS[guard.metric]
    measured = [metrics[metric.name] for entry in history if metric.name in (metrics := entry.of(weights))]
    known = [value for value in measured if math.isfinite(value)]
    if metric.better == "higher":
        return Bound(metric, True, max(known, default=math.inf) - guard.behind_best)
    return Bound(metric, False, min(known, default=-math.inf) + guard.behind_best)
