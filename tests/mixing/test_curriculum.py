from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hifitse.config.schema import Config
from hifitse.mixing.batch import step_counts, step_indices
from hifitse.mixing.curriculum import (
    absent_ratio_at,
    is_absent,
    num_absent,
    phase_at,
    settings_at,
    validation_settings,
)

RATIOS = st.floats(0, 0.999)


def test_a_phase_ends_before_its_until(make_config: Callable[..., Config]) -> None:
    config = make_config()
    assert [phase_at(config, step).name for step in (0, 1, 2, 10**6)] == ["tp", "tp", "tp_ta", "tp_ta"]
    assert [settings_at(config, step).absent_ratio for step in (1, 2)] == [0, 0.3]


def test_the_share_of_ta_scenes_rises_from_that_of_the_phase_before(make_config: Callable[..., Config]) -> None:
    config = make_config(
        curriculum=[
            {"name": "tp", "until": 10, "absent_ratio": 0.1},
            {"name": "tp_ta", "absent_ratio": 0.3, "absent_ramp_steps": 3},
        ]
    )
    ratios = [absent_ratio_at(config, step) for step in (0, 9, 10, 11, 12, 13, 1000)]
    assert ratios == pytest.approx([0.1, 0.1, 0.15, 0.2, 0.25, 0.3, 0.3])
    for step in range(20):
        indices = step_indices(step, config.train.batch_size)
        absent = sum(is_absent(index, settings_at(config, step).absent_ratio) for index in indices)
        assert step_counts(config, step).num_absent == absent


def test_a_phase_overrides_the_mixing_and_validation_follows_the_last_phase(
    make_config: Callable[..., Config],
) -> None:
    last = {"name": "hard", "absent_ratio": 0.2, "num_interferers": (2, 2), "sir_db": (-9, -9), "snr_db": (0, 0)}
    config = make_config(curriculum=[{"name": "easy", "until": 5, "absent_ratio": 0}, last])
    assert settings_at(config, 4).sir_db == config.mixing.sir_db
    validation = validation_settings(config)
    for scene_settings in (settings_at(config, 5), validation):
        assert scene_settings.num_interferers == (2, 2)
        assert scene_settings.sir_db == (-9, -9) and scene_settings.snr_db == (0, 0)
    assert validation.absent_ratio == config.validation.absent_ratio
    assert (
        validation.speeds == (1.0,)
        and validation.reference_dropout == 0
        and validation.reference_noise_probability == 0
    )


@pytest.mark.parametrize(
    ("ramp", "expected"),
    [((0, 0), [0.4, 0.4, 0.4, 0.4]), ((10, 20), [0.0, 0.2, 0.4, 0.4]), ((15, 15), [0.0, 0.4, 0.4, 0.4])],
)
def test_the_reference_noise_ramps_up(
    make_config: Callable[..., Config], ramp: tuple[int, int], expected: list[float]
) -> None:
    noise = {"probability": 0.4, "ramp_start_step": ramp[0], "ramp_end_step": ramp[1]}
    config = make_config(mixing={"reference_noise": noise})
    shares = [settings_at(config, step).reference_noise_probability for step in (0, 15, 20, 1000)]
    assert shares == pytest.approx(expected)


@given(ratio=RATIOS, first=st.integers(0, 10**9), count=st.integers(0, 300))
def test_counts_agree_with_the_scenes(ratio: float, first: int, count: int) -> None:
    scenes = range(first, first + count)
    assert num_absent(first, first + count, ratio) == sum(is_absent(index, ratio) for index in scenes)


@given(ratio=RATIOS, first=st.integers(0, 10**12), count=st.integers(1, 10**6))
def test_absence_is_spread_evenly(ratio: float, first: int, count: int) -> None:
    share = Fraction(round(ratio * 10**9), 10**9)
    assert abs(num_absent(first, first + count, ratio) - share * count) < 1


def test_a_whole_number_of_absent_scenes_is_exact_in_every_step() -> None:
    assert {num_absent(step * 10, step * 10 + 10, 0.2) for step in range(100000, 100100)} == {2}
    assert num_absent(0, 400, 0.2) == 80
