"""Resampling against sines in float64, and what it costs at odd rates."""

import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hifitse.audio.resampling import ratio, resample_part, resampled_length

ORDINARY = [
    (16000, 48000, 1.0),
    (16000, 48000, 0.9),
    (48000, 48000, 1.1),
    (44100, 48000, 1.0),
    (44100, 16000, 0.95),
    (48000, 44100, 1.0),
    (48000, 16000, 1.0),
    (96000, 8000, 1.0),
]
ODD = [(44101, 48000, 1.0), (44101, 48000, 0.9), (96001, 48000, 1.0), (47999, 16000, 1.1)]


def resampled(signal: np.ndarray, up: int, down: int, begin: int = 0, end: int | None = None) -> np.ndarray:
    whole = resampled_length(len(signal), up, down)
    samples = resample_part(
        lambda first, last: signal[first:last], len(signal), up, down, begin, whole if end is None else end
    )
    assert samples.dtype == np.float32
    return samples


def sines(hertz: np.ndarray, rate: float, seconds: float) -> np.ndarray:
    """Return a sum of sines in float64, with phases of their own."""
    times = np.arange(round(seconds * rate)) / rate
    phases = np.random.default_rng(len(hertz)).uniform(0, 2 * np.pi, len(hertz))
    return np.sin(2 * np.pi * np.outer(times, hertz) + phases).sum(axis=1) / len(hertz)


def decibels(power: float) -> float:
    return float(10 * np.log10(power))


@pytest.mark.parametrize(("file_rate", "rate", "speed"), ORDINARY + ODD)
def test_the_passband_is_flat_up_to_nine_tenths_of_nyquist(file_rate: int, rate: int, speed: float) -> None:
    up, down = ratio(file_rate, rate, speed)
    effective = rate * down / up
    nyquist = min(effective, rate) / 2
    hertz = np.linspace(0.01, 0.9, 40) * nyquist
    found = resampled(sines(hertz, effective, 1.5).astype(np.float32), up, down)
    expected = sines(hertz, rate, 1.5)
    middle = slice(rate // 4, rate)
    error = np.square(found[middle] - expected[middle]).mean() / np.square(expected[middle]).mean()
    assert decibels(error) < -110
    # The highest of them alone: no error hides behind the others.
    alone = sines(hertz[-1:], rate, 1.5)
    found = resampled(sines(hertz[-1:], effective, 1.5).astype(np.float32), up, down)
    assert decibels(np.square(found[middle] - alone[middle]).mean() / np.square(alone[middle]).mean()) < -100


@pytest.mark.parametrize(("file_rate", "rate", "speed"), [case for case in ORDINARY if case[0] > case[1]])
@pytest.mark.parametrize("place", [1.001, 1.05, 1.3])
def test_what_would_alias_is_gone(file_rate: int, rate: int, speed: float, place: float) -> None:
    up, down = ratio(file_rate, rate, speed)
    effective = rate * down / up
    if place * rate < effective:
        tone = sines(np.array([place * rate / 2]), effective, 1.5)
        heard = resampled(tone.astype(np.float32), up, down)[rate // 4 : rate]
        assert decibels(np.square(heard).mean() / np.square(tone).mean()) < -110


def test_images_are_gone() -> None:
    heard = resampled(sines(np.array([7190.0]), 16000, 1.5).astype(np.float32), 3, 1)[12000:48000]
    power = np.square(np.abs(np.fft.rfft(heard * np.blackman(len(heard)))))
    hertz = np.fft.rfftfreq(len(heard), 1 / 48000)
    assert decibels(power[hertz > 8000].sum() / power.sum()) < -110


@settings(max_examples=60, deadline=None)
@given(
    case=st.sampled_from(ORDINARY + ODD), places=st.lists(st.integers(0, 60000), min_size=2, max_size=2, unique=True)
)
def test_any_part_equals_that_part_of_the_whole_to_the_bit(case: tuple[int, int, float], places: list[int]) -> None:
    up, down = ratio(*case)
    signal = np.random.default_rng(0).standard_normal(90000).astype(np.float32)
    whole = resampled(signal, up, down)
    begin, end = sorted(place % len(whole) for place in places)
    np.testing.assert_array_equal(resampled(signal, up, down, begin, end + 1), whole[begin : end + 1])


def test_a_part_reads_little_more_than_its_own_frames() -> None:
    read: list[int] = []

    def reader(first: int, last: int) -> np.ndarray:
        read.append(last - first)
        return np.ones(last - first, np.float32)

    resample_part(reader, 16000 * 3600, 3, 1, 48000 * 60, 48000 * 64)
    assert len(read) == 1 and read[0] < 16000 * 4.8


@given(
    file_rate=st.integers(1000, 768_000), rate=st.integers(4000, 192_000), speed=st.sampled_from([0.5, 0.953, 1.0, 2.0])
)
def test_ratios_are_small_and_near(file_rate: int, rate: int, speed: float) -> None:
    up, down = ratio(file_rate, rate, speed)
    assert 1 <= up <= 16384 and 1 <= down <= 16384
    assert up / down == pytest.approx(rate / (file_rate * speed), rel=61e-6)
    assert ratio(44100, 48000) == (160, 147) and ratio(16000, 48000, 0.9) == (10, 3)


@pytest.mark.parametrize("file_rate", [44101, 96001, 767_957])
def test_odd_rates_cost_no_more_than_some_times_an_ordinary_one(file_rate: int) -> None:
    signal = np.ones(file_rate * 2, np.float32)
    up, down = ratio(file_rate, 48000)
    resampled(signal, up, down)
    tracemalloc.start()
    started = time.process_time()
    resampled(signal, up, down)
    seconds = time.process_time() - started
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # Before, 44101 Hz took 28 times as long as 44100, and 2 GB.
    assert seconds < 0.5 and peak < 64e6
