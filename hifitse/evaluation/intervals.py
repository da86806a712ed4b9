"""Means over scenes with their uncertainty; scenes of one speaker share a voice, so what is counted is speakers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean over scenes and its 95 % confidence interval for speakers like these, in the unit of the values."""

    mean: float
    low: float
    """NaN, like high and the standard error, where all scenes are of one speaker."""
    high: float
    standard_error: float
    num_speakers: int

    def to_json(self) -> dict[str, float]:
        return {"mean": self.mean, "low": self.low, "high": self.high, "standard_error": self.standard_error}


def clustered_interval(
    values: Sequence[float], speakers: Sequence[str], sizes: Sequence[float] | None = None
) -> Interval:
    """Return the mean over all scenes with its 95 % interval, scenes clustered by speaker.

    The mean is a ratio of two sums over speakers, that of the values over that of the scenes. Its standard error
    is the linearised one, from each speaker's sum of deviations, with the small-sample correction CR2 of R. M. Bell and
    D. F. McCaffrey, "Bias reduction in standard errors for linear regression with multi-stage samples", Survey
    Methodology 28(2), 2002: u_g^2 / (1 - n_g / n). For speakers with equally many scenes it is that of the mean of
    their means. The interval is Student's t with G - 1 degrees of freedom, as A. C. Cameron and D. L. Miller, "A
    practitioner's guide to cluster-robust inference", Journal of Human Resources 50(2), 2015, recommend.

    Args:
        values: one figure a scene, at least one.
        speakers: of each scene the name of its speaker.
        sizes: by what each scene counts, for a ratio of sums, sum(values) / sum(sizes); None: by 1.
    """
    # Scientific libraries take their time to load, and who only imports a metric needs none.
    from scipy.special import stdtrit

    figures = np.asarray(values, np.float64)
    names, which = np.unique(np.asarray(speakers, dtype=str), return_inverse=True)
    if len(figures) != len(which) or not len(figures):
        raise ValueError(f"{len(figures)} values of {len(which)} speakers")
    weights = np.ones(len(figures)) if sizes is None else np.asarray(sizes, np.float64)
    total, num_speakers = weights.sum(), len(names)
    mean = float(figures.sum() / total)
    if num_speakers == 1:
        return Interval(mean, np.nan, np.nan, np.nan, 1)
    share = np.bincount(which, weights) / total
    # A model that has diverged has infinite figures, whose error is no number.
    with np.errstate(invalid="ignore"):
        deviation = np.bincount(which, figures - mean * weights) / total
    error = float(np.sqrt((deviation**2 / (1 - share)).sum()))
    half = float(stdtrit(num_speakers - 1, (1 + _LEVEL) / 2)) * error
    return Interval(mean, mean - half, mean + half, error, num_speakers)
