"""A reference is the speech in what was given: without silences, and with every recording in it."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from hifitse.audio.levels import active_level
from hifitse.errors import DataError
from hifitse.extraction.reference import join, read_reference, speech_of
from tests.helpers import SPEECH

RATE = 16000
UTTERANCES = [soundfile.read(path, dtype="float32")[0] for path in sorted(SPEECH.glob("*/*.flac"))[:60:20]]


def silence(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * RATE), np.float32)


def test_long_silences_go_and_speech_stays_to_the_sample() -> None:
    time = np.arange(RATE) / RATE
    tone = (0.1 * np.sin(2 * np.pi * 200 * time)).astype(np.float32)
    given = np.concatenate([silence(3), tone, silence(2), tone, silence(5)])
    speech = speech_of(given, RATE)
    # A fifth of a second on each side of speech stays.
    np.testing.assert_array_equal(speech, np.concatenate([silence(0.2), tone, silence(0.4), tone, silence(0.2)]))
    np.testing.assert_array_equal(speech_of(speech, RATE), speech)


@pytest.mark.parametrize("noise_db", [None, -40])
def test_a_voice_in_silence_is_what_it_is_alone(noise_db: float | None) -> None:
    given = np.concatenate([silence(10), UTTERANCES[0], silence(10)])
    if noise_db is not None:
        level = active_level(UTTERANCES[0], RATE) * 10 ** (noise_db / 20)
        given += (level * np.random.default_rng(0).standard_normal(len(given))).astype(np.float32)
    assert len(speech_of(given, RATE)) <= len(UTTERANCES[0]) + 0.4 * RATE
    assert len(speech_of(given, RATE)) >= 0.9 * len(speech_of(UTTERANCES[0], RATE))


def test_what_never_pauses_stays_whole() -> None:
    noise = np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
    np.testing.assert_array_equal(speech_of(noise, RATE), noise)


def test_shares_are_equal_and_what_a_short_one_leaves_is_for_the_others() -> None:
    voices = [np.full(length, value, np.float32) for value, length in enumerate((100, 10, 100))]
    joined = join(voices, 90)
    assert [int((joined == value).sum()) for value in range(3)] == [40, 10, 40]
    assert list(dict.fromkeys(joined)) == [0, 1, 2], "in the order given"
    assert len(join(voices, 1000)) == 210


def test_several_recordings_are_one_reference_at_one_level(tmp_path: Path) -> None:
    paths = []
    for number, (utterance, gain) in enumerate(zip(UTTERANCES, (1, 0.1, 4), strict=True)):
        paths.append(tmp_path / f"{number}.wav")
        soundfile.write(paths[-1], gain * np.concatenate([silence(4), utterance]), RATE, "FLOAT")
    reference = read_reference(paths, RATE)
    one = read_reference(paths[:1], RATE)
    assert len(reference) <= 10 * RATE
    np.testing.assert_array_equal(reference[: len(one) // 2], one[: len(one) // 2])
    parts = np.array_split(reference, 3)
    levels = [active_level(part, RATE) for part in parts]
    assert max(levels) / min(levels) < 2


def test_silence_and_what_is_too_short_are_named(tmp_path: Path) -> None:
    for name, samples, words in (("silent", silence(2), "digital silence"), ("short", UTTERANCES[0][:800], "0.050 s")):
        soundfile.write(tmp_path / f"{name}.wav", samples, RATE)
        with pytest.raises(DataError, match=rf"{name}\.wav.*{words}"):
            read_reference([tmp_path / f"{name}.wav"], RATE)
