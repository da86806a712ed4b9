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


def clustered_interval(values: Sequence[float], speakers: Sequence[str]) -> Interval:
    """Return the mean over all scenes with its 95 % interval, scenes clustered by speaker.

    The mean is a ratio, of the sum of the values over the number of scenes, both sums over speakers. Its standard error
    is the linearised one, from each speaker's sum of deviations, with the small-sample correction CR2 of R. M. Bell and
    D. F. McCaffrey, "Bias reduction in standard errors for linear regression with multi-stage samples", Survey
    Methodology 28(2), 2002: u_g^2 / (1 - n_g / n). For speakers with equally many scenes it is that of the mean of
    their means. The interval is Student's t with G - 1 degrees of freedom, as A. C. Cameron and D. L. Miller, "A
    practitioner's guide to cluster-robust inference", Journal of Human Resources 50(2), 2015, recommend.

    Args:
        values: one figure a scene, at least one.
        speakers: of each scene the name of its speaker.
    """
    # Scientific libraries take their time to load, and who only imports a metric needs none.
    from scipy.special import stdtrit

    figures = np.asarray(values, np.float64)
    names, which = np.unique(np.asarray(speakers, dtype=str), return_inverse=True)
    if len(figures) != len(which) or not len(figures):
        raise ValueError(f"{len(figures)} values of {len(which)} speakers")
    mean, num_speakers = float(figures.mean()), len(names)
    if num_speakers == 1:
        return Interval(mean, np.nan, np.nan, np.nan, 1)
    share = np.bincount(which) / len(figures)
    # A model that has diverged has infinite figures, whose error is no number.
    with np.errstate(invalid="ignore"):
        deviation = np.bincount(which, weights=figures - mean) / len(figures)
    error = float(np.sqrt((deviation**2 / (1 - share)).sum()))
    half = float(stdtrit(num_speakers - 1, (1 + _LEVEL) / 2)) * error
    return Interval(mean, mean - half, mean + half, error, num_speakers)
