"""What a network hears of a reference: the speech in one or several recordings of the wanted speaker.

The networks take a reference of any length and reduce it to what is the same all along it, the voice. So several
recordings become one utterance, of which each has an equal share, at one level: what the network then averages over is
all of them. Silence says nothing about a voice, and would take the place of speech.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hifitse.audio.files import Samples, read_audio
from hifitse.audio.levels import FRAME_SECONDS, MARGIN_DB, active_level, frame_powers
from hifitse.errors import DataError
from hifitse.inference import MAX_REFERENCE_SECONDS, MIN_SECONDS

MAX_READ_SECONDS = 120.0
"""So much of a recording is looked through for speech."""
PAUSE_SECONDS = 0.2
"""So much stays of a silence next to speech, as in P.56; a longer pause becomes twice that."""


def read_reference(paths: Sequence[Path], sample_rate: int) -> Samples:
    """Return the speech of the recordings as one reference of at most 10 s, (n,), at the level of the first one.

    Raises:
        DataError: a file is unreadable, too short or silent.
    """
    voices = [_read_speech(path, sample_rate) for path in paths]
    level = active_level(voices[0], sample_rate)
    return join([_at_level(voice, level, sample_rate) for voice in voices], round(MAX_REFERENCE_SECONDS * sample_rate))


def join(voices: Sequence[Samples], most_samples: int) -> Samples:
    """Return the beginnings of the voices, one after the other: as long as can be, and equally long where they are."""
    left, taken = most_samples, {}
    # What a short one does not need is for the longer ones.
    for rank, number in enumerate(sorted(range(len(voices)), key=lambda number: len(voices[number]))):
        taken[number] = voices[number][: left // (len(voices) - rank)]
        left -= len(taken[number])
    return np.concatenate([taken[number] for number in range(len(voices))])


def speech_of(samples: Samples, sample_rate: int) -> Samples:
    """Return samples (n,) without long silences, at the ends and within.

    A frame of 20 ms has speech if it is active, as `hifitse.audio.levels` says after ITU-T P.56.
    """
    powers = frame_powers(samples, sample_rate)
    active = powers > active_level(samples, sample_rate) ** 2 * 10 ** (-MARGIN_DB / 10)
    reach = round(PAUSE_SECONDS / FRAME_SECONDS)
    kept = np.convolve(active, np.ones(2 * reach + 1), "full")[reach:-reach] > 0
    if not active.any():
        return samples
    frame = np.minimum(np.arange(len(samples)) // round(FRAME_SECONDS * sample_rate), len(kept) - 1)
    return samples[kept[frame]]


def _read_speech(path: Path, sample_rate: int) -> Samples:
    samples = read_audio(path, sample_rate, num_samples=round(MAX_READ_SECONDS * sample_rate))
    if len(samples) < MIN_SECONDS * sample_rate:
        raise DataError(f"{path}: lasts {len(samples) / sample_rate:.3f} s; give at least {MIN_SECONDS} s")
    if not samples.any():
        raise DataError(f"{path}: is digital silence; give a recording of a voice")
    return speech_of(samples, sample_rate)


def _at_level(voice: Samples, level: float, sample_rate: int) -> Samples:
    own = active_level(voice, sample_rate)
    return voice * np.float32(level / own) if own and own != level else voice
