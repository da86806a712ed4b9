import math

import pytest
import torch

from hifitse.errors import UsageError
from hifitse.metrics import METRICS, aggregate, measure, metric


def tone(level: float, hertz: float = 440.0) -> torch.Tensor:
    time = torch.arange(8000, dtype=torch.float64) / 8000
    return level * torch.sin(2 * math.pi * hertz * time)


def test_metrics_are_what_their_names_say() -> None:
    target = torch.stack([tone(0.2), tone(0.1), torch.zeros(8000, dtype=torch.float64)])
    mixture = target + tone(0.1, 1000.0)
    estimate = target + 0.1 * tone(0.1, 1000.0)
    samples = measure(range(3), estimate, target, mixture, torch.tensor([True, True, False]))
    values = aggregate(samples, val_loss=1.5)
    assert values.keys() == METRICS.keys()
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
