"""Fades: nothing that is cut or repeated clicks."""

import numpy as np

from hifitse.audio.resampling import Samples


def fade_out(samples: Samples, length: int) -> Samples:
    """Return samples (n,) of which the last `length` fall to zero along a raised cosine."""
    length = min(length, len(samples))
    faded = samples.copy()
    faded[len(samples) - length :] *= _falling(length) ** 2
    return faded


def fade_in(samples: Samples, length: int) -> Samples:
    """Return samples (n,) of which the first `length` rise from zero along a raised cosine."""
    return fade_out(samples[::-1], length)[::-1]


def loop(samples: Samples, length: int, start: int, overlap: int) -> Samples:
    """Return (length,) samples of a recording (n,) that repeats, from its sample `start` on.

    The end of each turn is cross-faded with the beginning of the next one over `overlap` samples (at most half a
    turn), at equal power, as suits what is not alike: noise keeps its level.
    """
    overlap = min(overlap, len(samples) // 2)
    turn = samples[: len(samples) - overlap].copy()
    turn[:overlap] *= _falling(overlap)[::-1]
    turn[:overlap] += samples[len(samples) - overlap :] * _falling(overlap)
    return np.resize(np.roll(turn, -start), length)


def _falling(length: int) -> Samples:
    """Return a quarter of a cosine, from almost 1 to almost 0, (length,)."""
    return np.asarray(np.cos((np.arange(length) + 0.5) * (np.pi / 2 / max(1, length))), np.float32)
