"""What is said of two models on the same scenes: directions, and intervals that keep what they promise."""

import math
from dataclasses import replace

import numpy as np
import pytest

from hifitse.evaluation.comparison.paired import Difference, Verdict, difference, differences
from hifitse.metrics import METRICS, Sample

NUM_SPEAKERS, SCENES_EACH, REPETITIONS = 20, 5, 1500
SPEAKERS = np.repeat(np.arange(NUM_SPEAKERS), SCENES_EACH)


def tp(si_sdr_db: float = 0.0, level: float = 1.0, target: float = 1.0, speaker: str = "ada") -> Sample:
    return Sample(0, True, si_sdr_db, si_sdr_db, level, target, presence_score_db=si_sdr_db, speaker=speaker)


def ta(suppression_db: float, speaker: str = "ada") -> Sample:
    score = -suppression_db
    return Sample(0, False, energy_db=score, suppression_db=suppression_db, presence_score_db=score, speaker=speaker)


def difference_in(name: str, a: list[Sample], b: list[Sample]) -> Difference:
    found = difference(METRICS[name], a, b)
    assert found
    return found


def test_intervals_cover_the_true_difference_in_95_percent() -> None:
    generator = np.random.default_rng(0)
    shape = (REPETITIONS, NUM_SPEAKERS)

    def drawn(of_speaker: float, of_scene: float) -> np.ndarray:
        effects = generator.normal(0, of_speaker, shape)[:, SPEAKERS]
        return effects + generator.normal(0, of_scene, (REPETITIONS, len(SPEAKERS)))

    # How hard scene and speaker are is common to both models, and far larger than what sets them apart.
    common, target = drawn(3.0, 4.0), generator.uniform(0.5, 1.5, (REPETITIONS, len(SPEAKERS)))
    quality = [common + mean + drawn(0.5, 1.0) for mean in (4.5, 4.0)]
    level = [target * (mean + drawn(0.05, 0.1)) for mean in (0.9, 1.2)]
    held = {"tp_si_sdr": 0, "rms_ratio": 0}
    for row in range(REPETITIONS):
        sides = [
            [
                tp(*figures, speaker=str(speaker))
                for *figures, speaker in zip(
                    q[row].tolist(), e[row].tolist(), target[row].tolist(), SPEAKERS, strict=True
                )
            ]
            for q, e in zip(quality, level, strict=True)
        ]
        for name, truth in (("tp_si_sdr", 0.5), ("rms_ratio", 0.1 - 0.2)):
            interval = difference_in(name, *sides).interval
            held[name] += interval.low <= truth <= interval.high
    for name, times in held.items():
        assert times / REPETITIONS == pytest.approx(0.95, abs=0.02), name


@pytest.mark.parametrize(
    ("name", "a", "b", "verdict"),
    [
        ("tp_si_sdr", [5.0, 6.0, 7.0], [4.0, 5.1, 5.9], Verdict.A),
        ("tp_si_sdr", [4.0, 5.1, 5.9], [5.0, 6.0, 7.0], Verdict.B),
        ("tp_si_sdr", [5.0, 6.0, 7.0], [6.0, 5.9, 6.2], Verdict.NEITHER),
        ("tp_si_sdr", [5.0, 6.0, 7.0], [5.0, 6.0, 7.0], Verdict.NEITHER),
        ("failure_rate", [0.0, 0.5, 0.9], [5.0, 6.0, 7.0], Verdict.B),
        # Nearer to 1 is better, on whichever side.
        ("rms_ratio", [1.1, 1.11, 1.09], [0.7, 0.71, 0.69], Verdict.A),
        ("rms_ratio", [0.7, 0.71, 0.69], [0.9, 0.91, 0.89], Verdict.B),
        ("rms_ratio", [1.1, 1.11, 1.09], [0.9, 0.88, 0.92], Verdict.NEITHER),
        # Lower energy is better, and so is more suppression.
        ("ta_energy_db", [30.0, 31.0, 32.0], [20.0, 21.1, 21.9], Verdict.A),
        ("ta_suppression_db", [20.0, 21.1, 21.9], [30.0, 31.0, 32.0], Verdict.B),
    ],
)
def test_the_verdict_follows_the_direction_of_the_metric(
    name: str, a: list[float], b: list[float], verdict: Verdict
) -> None:
    def side(values: list[float]) -> list[Sample]:
        speakers = ("ada", "bob", "eve")
        if name.startswith("ta_"):
            return [ta(value, speaker) for value, speaker in zip(values, speakers, strict=True)]
        if name == "rms_ratio":
            return [tp(level=value, speaker=speaker) for value, speaker in zip(values, speakers, strict=True)]
        return [tp(value, speaker=speaker) for value, speaker in zip(values, speakers, strict=True)]

    found = difference_in(name, side(a), side(b))
    assert found.verdict is verdict
    assert found.to_json()["verdict"] == verdict.value
    swapped = difference_in(name, side(b), side(a))
    assert swapped.interval.mean == pytest.approx(-found.interval.mean)
    assert (swapped.a_better, swapped.b_better) == (found.b_better, found.a_better)


def test_what_scenes_have_in_common_cancels() -> None:
    a = [tp(value, speaker=name) for value, name in ((-20.0, "ada"), (3.0, "bob"), (40.0, "eve"))]
    b = [replace(sample, si_sdr_db=sample.si_sdr_db - 0.1) for sample in a if sample.si_sdr_db is not None]
    found = difference_in("tp_si_sdr", a, b)
    assert (found.interval.low, found.interval.high) == (pytest.approx(0.1), pytest.approx(0.1))
    assert found.verdict is Verdict.A and found.a_better == 1


def test_one_speaker_is_no_evidence_for_others() -> None:
    found = difference_in("tp_si_sdr", [tp(9.0), tp(8.0)], [tp(1.0), tp(2.0)])
    assert found.interval.mean == 7 and found.verdict is Verdict.UNKNOWN


def test_every_metric_that_both_have_is_compared_and_no_loss() -> None:
    a = [tp(5.0, speaker="ada"), tp(6.0, speaker="bob"), ta(20.0, "ada"), ta(30.0, "bob")]
    found = {each.metric.name: each for each in differences(a, a)}
    assert found.keys() == METRICS.keys() - {"val_loss", "confusion_rate"}
    eer = found.pop("presence_eer")
    assert eer.verdict is Verdict.UNKNOWN and math.isnan(eer.interval.low)
    assert {each.verdict for each in found.values()} == {Verdict.NEITHER}
    with pytest.raises(ValueError, match="zip"):
        differences(a, a[:-1])


def test_scenes_without_a_value_on_one_side_count_on_neither() -> None:
    a, b = [tp(5.0, speaker="ada"), tp(6.0, speaker="bob")], [tp(4.0, speaker="ada"), tp(5.0, speaker="bob")]
    with_pesq = [replace(sample, perceptual={"pesq_nb": 2.0}) for sample in a]
    assert "tp_pesq_nb" not in {each.metric.name for each in differences(with_pesq, b)}
    one = [replace(b[0], perceptual={"pesq_nb": 1.5}), b[1]]
    (pesq,) = (each for each in differences(with_pesq, one) if each.metric.name == "tp_pesq_nb")
    assert (pesq.a, pesq.b, pesq.interval.num_speakers) == (2.0, 1.5, 1)
