"""Levels: RMS for noise, active speech level for voices. In float64 and without BLAS, whose threads change last bits.

The active level leaves pauses out, so that a voice that speaks half of the time is as loud, while it speaks, as one
that never stops. It follows ITU-T P.56 (Objective measurement of active speech level), method B: speech is active
where it is above a threshold that lies 15.9 dB below the active level itself. P.56 smooths the signal and counts
pauses below 0.2 s as speech; here a frame of 20 ms is active or not. That gives 0.7 dB more on the bundled speech, and
1.4 at most (tests/audio/test_levels.py has both).
"""

import math

import numpy as np
import numpy.typing as npt

from hifitse.audio.resampling import Samples

FRAME_SECONDS = 0.02
MARGIN_DB = 15.9
"""Of P.56: how far below the active level speech still counts as active."""
Powers = npt.NDArray[np.float64]


def amplitude(level_db: float) -> float:
    """Return the amplitude of a level in dB below full scale."""
    return math.pow(10.0, level_db / 20)


def decibels(level: float) -> float:
    """Return a positive amplitude in dB below full scale."""
    return 20 * math.log10(level)


def rms(samples: Samples) -> float:
    """Return the root mean square of samples (n,)."""
    return math.sqrt(float(np.square(samples, dtype=np.float64).mean()))


def frame_powers(samples: Samples, sample_rate: int) -> Powers:
    """Return the mean square of each whole frame of 20 ms (num_frames,)."""
    length = round(FRAME_SECONDS * sample_rate)
    frames = samples[: len(samples) // length * length].reshape(-1, length)
    return np.asarray(np.einsum("ij,ij->i", frames, frames, dtype=np.float64)) / length


def active_level(samples: Samples, sample_rate: int) -> float:
    """Return the active speech level of samples (n,) as an amplitude: of a constant tone its RMS, of silence 0.

    It is the root of the mean power L of the frames whose power is above L - 15.9 dB: from the mean over all frames
    on, L is set to the mean over the active ones until none leaves. Silence before or after does not change it.
    """
    powers = frame_powers(samples, sample_rate)
    below = 10 ** (-MARGIN_DB / 10)
    while len(powers) > 0:
        level = float(powers.mean())
        active = powers[powers > below * level]
        if len(active) == len(powers):
            return math.sqrt(level)
        powers = active
    return 0.0


def active_seconds(samples: Samples, sample_rate: int) -> float:
    """Return how long the speech in samples (n,) is active, in seconds."""
    threshold = active_level(samples, sample_rate) ** 2 * 10 ** (-MARGIN_DB / 10)
    return FRAME_SECONDS * int((frame_powers(samples, sample_rate) > threshold).sum())
