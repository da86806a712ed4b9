"""The guard on steps learns what is usual, is not fooled by what is not, and survives a checkpoint."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hifitse.config.policies import HealthConfig, SpikeGuard
from hifitse.training.gradient_guard import GradientGuard

CONFIG = HealthConfig(spike=SpikeGuard(factor=10, window=20, patience=3))


def judged(norms: list[float], config: HealthConfig = CONFIG) -> tuple[GradientGuard, list[str | None]]:
    guard = GradientGuard()
    return guard, [guard.judge(config, 0.0, norm) for norm in norms]


def test_a_spike_is_seen_once_half_the_window_is_known() -> None:
    assert judged([1.0] * 9 + [100.0])[1] == [None] * 10
    assert judged([1.0] * 10 + [100.0])[1] == [None] * 10 + ["spike"]


def test_one_spike_does_not_hide_the_next() -> None:
    guard, skips = judged([1.0] * 20 + [1e6] * 4)
    assert skips[-4:] == ["spike"] * 4
    assert guard.num_spikes == 4


def test_a_new_normal_is_learnt() -> None:
    _, skips = judged([1.0] * 20 + [50.0] * 20)
    assert skips[20] == "spike" and skips[-1] is None


@pytest.mark.parametrize("loss,norm", [(math.nan, 1.0), (math.inf, 1.0), (0.0, math.nan), (0.0, math.inf)])
def test_what_is_not_finite_never_enters_the_window(loss: float, norm: float) -> None:
    guard, _ = judged([1.0] * 12)
    before = list(guard.norms)
    assert guard.judge(CONFIG, loss, norm) == "non_finite"
    assert guard.norms == before and guard.num_non_finite == 1
    assert guard.judge(CONFIG, 0.0, 1.0) is None
    assert guard.num_non_finite == 0


def test_an_ignored_guard_takes_every_finite_step() -> None:
    config = HealthConfig(spike=SpikeGuard(factor=10, window=20, action="ignore"))
    assert set(judged([1.0] * 20 + [1e9], config)[1]) == {None}


@given(st.lists(st.floats(1e-6, 1e6) | st.just(math.nan), max_size=60), st.integers(0, 60))
def test_a_checkpoint_in_between_changes_nothing(norms: list[float], cut: int) -> None:
    guard, skips = judged(norms)
    first, before = judged(norms[:cut])
    restored = GradientGuard.from_json(json.loads(json.dumps(first.to_json())))
    after = [restored.judge(CONFIG, 0.0, norm) for norm in norms[cut:]]
    assert before + after == skips
    assert restored == guard
