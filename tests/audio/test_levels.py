"""Levels of known signals, and the active level beside a plain implementation of ITU-T P.56."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter

from hifitse.audio.files import read_audio
from hifitse.audio.levels import MARGIN_DB, active_level, amplitude, decibels, frame_powers, rms
from tests.helpers import SPEECH

RATE = 16000
UTTERANCES = sorted(SPEECH.glob("*/*.flac"))[::8]


def tone(seconds: float, level: float = 0.5) -> np.ndarray:
    return np.float32(level * np.sin(2 * np.pi * 440 * np.arange(round(seconds * RATE)) / RATE))


def p56(samples: np.ndarray) -> float:
    """Return the active speech level in dB by method B of ITU-T P.56."""
    decay = np.exp(-1 / (RATE * 0.03))
    envelope = np.abs(samples.astype(np.float64))
    for _ in range(2):
        envelope = lfilter([1 - decay], [1, -decay], envelope)
    energy, hangover, places = np.square(samples.astype(np.float64)).sum(), round(0.2 * RATE), np.arange(len(samples))
    lower = (np.inf, 0.0)
    for threshold in 2.0 ** np.arange(-15, 0):
        last = np.maximum.accumulate(np.where(envelope >= threshold, places, -hangover - 1))
        level = 10 * np.log10(energy / max(1, (places - last <= hangover).sum()))
        excess = level - 20 * np.log10(threshold) - MARGIN_DB
        if excess <= 0:
            return float(level + (lower[1] - level) * excess / (excess - lower[0]))
        lower = (excess, level)
    raise AssertionError("speech is louder than this")


def test_a_tone_has_its_rms() -> None:
    samples = tone(1.0)
    assert rms(samples) == pytest.approx(0.5 / np.sqrt(2), rel=1e-4)
    assert active_level(samples, RATE) == pytest.approx(rms(samples), rel=1e-6)
    assert decibels(amplitude(-26.0)) == pytest.approx(-26.0)


@settings(max_examples=40, deadline=None)
@given(
    path=st.sampled_from(UTTERANCES), before=st.integers(0, 200), after=st.integers(0, 200), gain=st.floats(1e-3, 10)
)
def test_silence_around_speech_changes_nothing_and_gain_all(path: object, before: int, after: int, gain: float) -> None:
    samples = read_audio(str(path), RATE)
    samples = samples[: len(samples) // 320 * 320]
    padded = np.pad(samples, (before * 320, after * 320)) * np.float32(gain)
    assert active_level(padded, RATE) == pytest.approx(gain * active_level(samples, RATE), rel=1e-5)


def test_pauses_of_room_noise_do_not_count() -> None:
    noise = np.float32(1e-3) * np.random.default_rng(0).standard_normal(3 * RATE).astype(np.float32)
    samples = noise.copy()
    samples[RATE : RATE + RATE // 2] += tone(0.5)
    assert decibels(active_level(samples, RATE)) == pytest.approx(decibels(0.5 / np.sqrt(2)), abs=0.1)
    assert decibels(rms(samples)) < decibels(0.5 / np.sqrt(2)) - 7


def test_silence_has_no_level() -> None:
    assert active_level(np.zeros(RATE, np.float32), RATE) == 0.0
    assert active_level(np.ones(10, np.float32), RATE) == 0.0, "shorter than a frame"
    assert len(frame_powers(np.ones(1000, np.float32), RATE)) == 3


def test_it_is_near_p56() -> None:
    differences = []
    for path in UTTERANCES:
        samples = read_audio(path, RATE)
        differences.append(decibels(active_level(samples, RATE)) - p56(samples))
    assert -0.1 < min(differences) and max(differences) < 1.6 and 0.3 < np.mean(differences) < 1.0
    assert p56(tone(2.0)) == pytest.approx(decibels(rms(tone(2.0))), abs=0.4)
