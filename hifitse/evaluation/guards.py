"""The guards on validations: a pure judgement of what the exams of a run say, oldest to newest.

The averaged weights are the ones that are used, but they lag: a collapse shows in the raw ones first.
Both sit the exam, and a guard acts on either.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from hifitse.config.policies import Action, Guard
from hifitse.config.schema import Config
from hifitse.evaluation.bounds import Bound
from hifitse.metrics import METRICS
from hifitse.mixing.curriculum import phase_at

Weights = Literal["averaged", "raw"]


@dataclass(frozen=True)
class Reading:
    """What one exam says about a checkpoint."""

    step: int
    """Completed steps."""
    averaged: dict[str, float]
    """Metrics of the averaged weights."""
    raw: dict[str, float]
    """Metrics of the weights in training."""

    def of(self, weights: Weights) -> dict[str, float]:
        return self.averaged if weights == "averaged" else self.raw


@dataclass(frozen=True)
class Crossing:
    """A guard found the newest exam sick."""

    guard: Guard
    weights: Weights
    bound: Bound
    values: tuple[tuple[int, float], ...]
    """(step, value) of the sick exams in a row, the newest last."""

    @property
    def acts(self) -> bool:
        """Whether the guard's patience is at its end."""
        return len(self.values) >= self.guard.patience

    @property
    def action(self) -> Action:
        """What to do now: short of its patience, a guard only tells."""
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


def judge(config: Config, readings: Sequence[Reading]) -> list[Crossing]:
    """Return what is sick about the last reading, judged by all of them; the gravest first.

    Args:
        readings: all exams of the line, ascending by step.
    """
    found = [
        crossing
        for guard in config.health.guards
        if guard.action != "ignore" and readings
        for weights in ("averaged", "raw")
        if (crossing := _crossing(guard, weights, config, readings))
    ]
    gravity = {"stop": 0, "rollback": 1, "warn": 2}
    return sorted(found, key=lambda crossing: gravity[crossing.action])


def is_healthy(config: Config, readings: Sequence[Reading]) -> bool:
    """Tell whether no guard that stops or goes back finds anything in the last reading, not even for the first time."""
    return all(crossing.guard.action == "warn" for crossing in judge(config, readings))


def gate(config: Config) -> list[Bound]:
    """Return the bounds on single values, which no checkpoint may cross that is to be selected."""
    return [bound for guard in config.health.guards if guard.gate and (bound := _bound(guard, config))]


def _crossing(guard: Guard, weights: Weights, config: Config, readings: Sequence[Reading]) -> Crossing | None:
    values: list[tuple[int, float]] = []
    newest = None
    for end in range(len(readings), 0, -1):
        step, metrics = readings[end - 1].step, readings[end - 1].of(weights)
        bound = _bound(guard, config) or _bound_behind_best(guard, weights, readings[:end])
        if (guard.phases == "with_ta" and not _has_absent(config, step)) or bound.violation(metrics) is None:
            break
        newest = newest or bound
        values.insert(0, (step, metrics[bound.metric.name]))
    return Crossing(guard, weights, newest, tuple(values)) if newest else None


def _has_absent(config: Config, step: int) -> bool:
    """Tell whether the last of these completed steps mixed TA scenes: a phase is judged by its own work."""
    return phase_at(config, max(step - 1, 0)).absent_ratio > 0


def _bound(guard: Guard, config: Config) -> Bound | None:
    """Return the bound of a guard, or None where it depends on the exams before."""
    metric = METRICS[guard.metric]
    if guard.below is not None:
        return Bound(metric, True, guard.below)
    if guard.above is not None:
        return Bound(metric, False, guard.above)
    if guard.below_target is not None:
        absent = config.loss.absent
        if absent.kind == "relative":
            # Its target is a level below the mixture: the one at which it costs 3 dB.
            target_suppression = -10 * math.log10(absent.relative_floor)
            return Bound(METRICS["ta_suppression_db"], False, target_suppression + guard.below_target)
        return Bound(metric, True, absent.target_db - guard.below_target)
    return None


def _bound_behind_best(guard: Guard, weights: Weights, readings: Sequence[Reading]) -> Bound:
    assert guard.behind_best is not None, "a guard has one bound"
    metric = METRICS[guard.metric]
    known = [value for reading in readings if math.isfinite(value := reading.of(weights)[metric.name])]
    if metric.better == "higher":
        return Bound(metric, True, max(known, default=math.inf) - guard.behind_best)
    return Bound(metric, False, min(known, default=-math.inf) + guard.behind_best)


class Alarm(Exception):
    """A guard acts; the state is saved."""

    def __init__(self, guard: str, action: Action, message: str) -> None:
        # All of it, so that it can be sent to other ranks.
        super().__init__(guard, action, message)
        self.guard, self.action, self.message = guard, action, message
