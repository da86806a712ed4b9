"""The difference of two models on the same scenes, metric by metric."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from hifitse.evaluation.intervals import Interval, clustered_interval
from hifitse.metrics import Metric, Sample, measured_metrics, presence_eer

Pair = tuple[Sample, Sample]


class Verdict(StrEnum):
    """What a comparison says of A and B."""

    A = "A is better"
    B = "B is better"
    NEITHER = "cannot be told apart"
    UNKNOWN = "no interval"


@dataclass(frozen=True)
class Difference:
    """A minus B in one metric, over the scenes that both have a value of it for."""

    metric: Metric
    a: float
    b: float
    interval: Interval
    """Of the difference; NaN where there is none: all scenes are of one speaker, or the metric is no mean over scenes.
    Of rms_ratio it is the difference of the distances from 1, so lower is better."""
    a_better: float
    """Share of the scenes in which A is better; NaN where a single scene has no value."""
    b_better: float

    @property
    def verdict(self) -> Verdict:
        low, high = self.interval.low, self.interval.high
        if math.isnan(low) or math.isnan(high):
            return Verdict.UNKNOWN
        if low <= 0 <= high:
            return Verdict.NEITHER
        return Verdict.A if (low > 0) == (self.metric.better == "higher") else Verdict.B

    def to_json(self) -> dict[str, Any]:
        return {
            "a": self.a,
            "b": self.b,
            "difference": self.interval.mean,
            "low": self.interval.low,
            "high": self.interval.high,
            "a_better": self.a_better,
            "b_better": self.b_better,
            "verdict": self.verdict.value,
        }


def differences(a: Sequence[Sample], b: Sequence[Sample]) -> list[Difference]:
    """Return the difference in every metric that both were measured by; scene by scene, they are of the same scenes.

    val_loss is not among them: runs with other objectives have another one.
    """
    found = (difference(metric, a, b) for metric in measured_metrics(a))
    return [each for each in found if each]


def difference(metric: Metric, a: Sequence[Sample], b: Sequence[Sample]) -> Difference | None:
    """Return the difference in one metric, or None where not both were measured by it."""
    if metric.name == "presence_eer":
        return _of_eer(metric, a, b)
    pairs = [pair for pair in zip(a, b, strict=True) if None not in (_value(metric, s) for s in pair)]
    if not pairs:
        return None
    # An older result does not say who speaks. It may have been one speaker throughout.
    speakers = [ours.speaker or theirs.speaker or "" for ours, theirs in pairs]
    values = np.array([[_value(metric, sample) for sample in pair] for pair in pairs], np.float64)
    costs = [[metric.cost(value) for value in pair] for pair in values.tolist()]
    a_better = float(np.mean([ours < theirs for ours, theirs in costs]))
    b_better = float(np.mean([theirs < ours for ours, theirs in costs]))
    if metric.name == "rms_ratio":
        (mean_a, mean_b), interval = _of_level(pairs, speakers)
    else:
        mean_a, mean_b = values.mean(0).tolist()
        # A model that has diverged has infinite figures, whose difference is no number.
        with np.errstate(invalid="ignore"):
            interval = clustered_interval((values[:, 0] - values[:, 1]).tolist(), speakers)
    return Difference(metric, mean_a, mean_b, interval, a_better, b_better)


def _value(metric: Metric, sample: Sample) -> float | None:
    return sample.rms_ratio if metric.name == "rms_ratio" else metric.of(sample)


def _of_level(pairs: Sequence[Pair], speakers: Sequence[str]) -> tuple[tuple[float, float], Interval]:
    """Return both ratios, and the interval of the difference of their distances from 1.

    A ratio's distance from 1 is one of sums, too: sum(s (estimate - target)) / sum(target), s the side that it is on.
    """
    target = np.array([ours.rms_target for ours, _ in pairs], np.float64)
    estimates = np.array([[sample.rms_estimate for sample in pair] for pair in pairs], np.float64).T
    ratios = estimates.sum(1) / max(target.sum(), 1e-12)
    sides = np.where(ratios < 1, -1.0, 1.0)
    with np.errstate(invalid="ignore"):
        distances = sides[:, None] * (estimates - target)
        interval = clustered_interval((distances[0] - distances[1]).tolist(), speakers, target.tolist())
    return (float(ratios[0]), float(ratios[1])), interval


def _of_eer(metric: Metric, a: Sequence[Sample], b: Sequence[Sample]) -> Difference | None:
    """Return the difference of two error rates: figures of all scenes together, so without an interval."""
    ours, theirs = presence_eer(a), presence_eer(b)
    if ours is None or theirs is None:
        return None
    interval = Interval(ours - theirs, math.nan, math.nan, math.nan, num_speakers=0)
    return Difference(metric, ours, theirs, interval, math.nan, math.nan)
