import math
from typing import get_args

import pytest
import torch

from hifitse.config.section import MetricName
from hifitse.errors import UsageError
from hifitse.metrics import MAIN_METRICS, METRICS, Sample, aggregate, measure, metric, presence_eer


def tone(level: float, hertz: float = 440.0) -> torch.Tensor:
    time = torch.arange(8000, dtype=torch.float64) / 8000
    return level * torch.sin(2 * math.pi * hertz * time)


def test_metrics_are_what_their_names_say() -> None:
    target = torch.stack([tone(0.2), tone(0.1), torch.zeros(8000, dtype=torch.float64)])
    mixture = target + tone(0.1, 1000.0)
    estimate = target + 0.1 * tone(0.1, 1000.0)
    interferers = (mixture - target)[:, None]
    samples = measure(range(3), estimate, target, mixture, torch.tensor([True, True, False]), interferers)
    values = aggregate(samples, val_loss=1.5)
    assert tuple(values) == tuple(METRICS) == get_args(MetricName)
    assert values["tp_si_sdr"] == pytest.approx((20 * math.log10(20) + 20 * math.log10(10)) / 2, abs=1e-3)
    assert values["tp_si_sdri"] == pytest.approx(20, abs=1e-3)
    assert values["rms_ratio"] == pytest.approx(1.0, abs=0.01)
    assert values["ta_energy_db"] == pytest.approx(10 * math.log10(0.01**2 / 2 + 1e-8), abs=1e-6)
    assert values["ta_suppression_db"] == pytest.approx(20, abs=0.01)
    assert values["val_loss"] == 1.5


def test_rms_ratio_is_a_ratio_of_sums() -> None:
    target = torch.stack([tone(0.2), tone(0.1), torch.zeros(8000, dtype=torch.float64)])
    estimate = torch.stack([tone(0.4), tone(0.1), tone(0.1)])
    values = aggregate(measure(range(3), estimate, target, target, torch.tensor([True, True, False])), 0.0)
    assert values["rms_ratio"] == pytest.approx(0.5 / 0.3, rel=1e-6)


def test_half_and_double_level_are_not_equally_near_1_but_1_is_best() -> None:
    cost = METRICS["rms_ratio"].cost
    assert cost(1.0) < cost(0.9) < cost(0.5)
    assert cost(1.0) < cost(1.1) < cost(2.0)


def test_an_unknown_metric_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="tp_si_sdr"):
        metric("loss")


def test_what_went_wrong_is_told_for_each_scene() -> None:
    target, other = tone(0.1), tone(0.1, 1000.0)
    mixture = target + other
    estimates = torch.stack([target, 0.3 * target, other, target + 0.9 * other, 0.5 * mixture, 0.1 * mixture])
    present = torch.tensor([True, True, True, True, False, False])
    # The second interferer is not there: a silent one is never what an estimate is near to.
    interferers = torch.stack([other, torch.zeros_like(other)]).expand(6, 2, -1)
    targets = torch.where(present[:, None], target, 0.0)
    samples = measure(range(6), estimates, targets, mixture.expand(6, -1), present, interferers)
    assert [sample.is_rejection for sample in samples] == [False, True, False, False, None, None]
    assert [sample.is_confusion for sample in samples] == [False, False, True, False, None, None]
    assert [sample.is_failure for sample in samples] == [False, False, True, True, None, None]
    assert [sample.is_false_extraction for sample in samples] == [None, None, None, None, True, False]
    values = aggregate(samples)
    assert (values["rejection_rate"], values["confusion_rate"], values["failure_rate"]) == (0.25, 0.25, 0.5)
    assert values["false_extraction_rate"] == 0.5


def test_a_silent_estimate_is_a_rejection_and_a_failure_and_no_confusion() -> None:
    target, other = tone(0.1)[None], tone(0.1, 1000.0)[None]
    (sample,) = measure([0], 0 * target, target, target + other, torch.tensor([True]), other[:, None])
    assert (sample.is_rejection, sample.is_failure, sample.is_confusion) == (True, True, False)


def scored(present: list[float], absent: list[float]) -> list[Sample]:
    both = [(score, True) for score in present] + [(score, False) for score in absent]
    return [Sample(i, tp, presence_score_db=score) for i, (score, tp) in enumerate(both)]


@pytest.mark.parametrize(
    ("present", "absent", "expected"),
    [
        ([-1, -2, -3], [-10, -20], 0.0),
        ([-10, -20], [-1, -2, -3], 1.0),
        ([-1, -2, -3, -12], [-2.5, -11, -13, -20], 0.25),
        ([-5.0] * 4, [-5.0] * 4, 0.5),
        ([math.nan, -1], [-10], math.nan),
    ],
)
def test_the_equal_error_rate_of_presence(present: list[float], absent: list[float], expected: float) -> None:
    assert presence_eer(scored(present, absent)) == pytest.approx(expected, nan_ok=True)


def test_of_what_was_not_measured_there_is_no_metric() -> None:
    older = [
        Sample(0, True, si_sdr_db=5.0, si_sdri_db=4.0, rms_estimate=0.9, rms_target=1.0),
        Sample(1, False, energy_db=-40.0, suppression_db=20.0),
    ]
    values = aggregate(older, val_loss=1.0)
    assert values.keys() >= set(MAIN_METRICS)
    assert "confusion_rate" not in values and "presence_eer" not in values
    assert "ta_suppression_db" not in aggregate(older[:1]) and "val_loss" not in aggregate(older)
