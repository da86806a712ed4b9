"""Simulated speakers: what a clustered interval promises is kept, what an unclustered one promises is not."""

import math

import numpy as np
import pytest

from hifitse.evaluation.intervals import clustered_interval

REPETITIONS = 2500
TRUE_MEAN_DB = 4.0


def coverage(num_scenes: np.ndarray, *, is_clustered: bool) -> float:
    """Return how often the interval holds the true mean, for speakers with so many scenes each."""
    generator = np.random.default_rng(0)
    speakers = np.repeat(np.arange(len(num_scenes)), num_scenes)
    effects = generator.normal(0.0, 1.5, (REPETITIONS, len(num_scenes)))
    values = TRUE_MEAN_DB + effects[:, speakers] + generator.normal(0.0, 3.0, (REPETITIONS, len(speakers)))
    names = [f"voice {number}" if is_clustered else f"scene {place}" for place, number in enumerate(speakers)]
    intervals = [clustered_interval(row, names) for row in values]
    return float(np.mean([interval.low <= TRUE_MEAN_DB <= interval.high for interval in intervals]))


@pytest.mark.parametrize("num_scenes", [np.full(20, 10), np.arange(20) % 13 + 4], ids=["equal", "4 to 16 scenes"])
def test_only_clustered_intervals_cover_the_true_mean_in_95_percent(num_scenes: np.ndarray) -> None:
    assert coverage(num_scenes, is_clustered=True) == pytest.approx(0.95, abs=0.02)
    assert coverage(num_scenes, is_clustered=False) < 0.85


def test_with_equally_many_scenes_it_is_the_standard_error_of_the_speakers_means() -> None:
    means = np.array([1.0, 2.0, 6.0])
    interval = clustered_interval([1.5, 0.5, 2.0, 2.0, 9.0, 3.0], ["a", "a", "b", "b", "c", "c"])
    assert interval.mean == pytest.approx(3.0)
    assert interval.standard_error == pytest.approx(means.std(ddof=1) / math.sqrt(3))
    # Student's t, 2 degrees of freedom, 97.5 %.
    assert interval.high - 3.0 == 3.0 - interval.low == pytest.approx(4.302653 * interval.standard_error)


def test_a_ratio_of_sums_is_sure_where_every_speaker_has_it() -> None:
    speakers = ["a", "a", "b", "c"]
    exact = clustered_interval([1.0, 2.0, 3.0, 4.0], speakers, [2.0, 4.0, 6.0, 8.0])
    assert (exact.mean, exact.standard_error) == (0.5, pytest.approx(0.0, abs=1e-12))
    plain = clustered_interval([1.0, 2.0, 3.0, 4.0], speakers)
    assert clustered_interval([1.0, 2.0, 3.0, 4.0], speakers, [1.0] * 4) == plain


def test_one_speaker_has_a_mean_and_no_interval() -> None:
    interval = clustered_interval([1.0, 3.0], ["a", "a"])
    assert interval.mean == 2.0
    assert math.isnan(interval.low) and math.isnan(interval.high) and math.isnan(interval.standard_error)
