import numpy as np
import pytest

from hifitse.audio.fades import fade_in, fade_out, loop


def test_a_fade_ends_in_silence_and_changes_nothing_before() -> None:
    faded = fade_out(np.ones(1000, np.float32), 100)
    np.testing.assert_array_equal(faded[:900], 1)
    assert (np.diff(faded[899:]) < 0).all() and 0 < faded[-1] < 1e-3
    np.testing.assert_array_equal(fade_in(np.ones(1000, np.float32), 100), faded[::-1])
    assert fade_out(np.ones(10, np.float32), 100)[-1] < 0.01
    assert len(fade_out(np.zeros(0, np.float32), 5)) == 0


@pytest.mark.parametrize("start", [0, 700, 1999])
def test_a_loop_does_not_click_where_it_repeats(start: int) -> None:
    # A sine that does not fit its length: without a cross-fade it jumps by almost 2 at every turn.
    wave = np.sin(2 * np.pi * 10.25 * np.arange(2000) / 2000).astype(np.float32)
    looped = loop(wave, 20000, start, 200)
    steepest = np.abs(np.diff(wave)).max()
    assert np.abs(np.diff(np.resize(wave, 20000))).max() > 20 * steepest
    assert np.abs(np.diff(looped)).max() < 2 * steepest
    assert len(looped) == 20000 and looped.dtype == np.float32
    np.testing.assert_array_equal(looped[:10000], looped[1800:11800])


def test_a_loop_keeps_the_level_of_noise() -> None:
    noise = np.random.default_rng(0).standard_normal(4000).astype(np.float32)
    turns = loop(noise, 38000, 0, 200).reshape(10, 3800)
    assert np.square(turns[:, :200]).mean() == pytest.approx(1, abs=0.2)
    np.testing.assert_array_equal(turns[0, 200:], noise[200:3800])


def test_any_length_loops() -> None:
    for length in (1, 2, 3):
        assert len(loop(np.ones(length, np.float32), 50, 0, 200)) == 50
