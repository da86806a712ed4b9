import pytest

from hifitse.config.schema import TrainConfig
from hifitse.schedule import ema_decay, is_due, learning_rate

CONFIG = TrainConfig(
    total_steps=1000, warmup_steps=100, learning_rate=1e-3, min_learning_rate=1e-5, rewarmup_steps=50, ema_decay=0.99
)


def test_the_rate_rises_linearly_to_its_peak_then_falls_to_its_floor() -> None:
    rates = [learning_rate(CONFIG, step) for step in range(1000)]
    assert rates[0] == pytest.approx(1e-5)
    assert rates[99] == pytest.approx(1e-3)
    assert rates[:100] == sorted(rates[:100])
    assert rates[100:] == sorted(rates[100:], reverse=True)
    assert rates[550] == pytest.approx((1e-3 + 1e-5) / 2, rel=1e-3)
    assert learning_rate(CONFIG, 1000) == pytest.approx(1e-5)


def test_after_a_reset_the_rate_rises_back_to_its_own_place() -> None:
    assert learning_rate(CONFIG, 500, optimizer_reset_step=500) == pytest.approx(learning_rate(CONFIG, 500) / 50)
    assert learning_rate(CONFIG, 549, optimizer_reset_step=500) == learning_rate(CONFIG, 549)
    assert learning_rate(CONFIG, 700, optimizer_reset_step=500) == learning_rate(CONFIG, 700)


def test_the_ema_weights_forget_their_start_soon() -> None:
    assert ema_decay(CONFIG, 0) == 0.1
    assert ema_decay(CONFIG, 10_000) == 0.99


def test_nothing_is_due_before_the_first_step() -> None:
    assert [step for step in range(11) if is_due(step, 5)] == [5, 10]
