"""Resampling by blocks at fixed places: any part of a signal equals the same part of the whole, to the bit.

A block of the result always comes from the same frames by the same arithmetic, whatever part was asked for: a Fourier
transform at the one rate, a low-pass, and the inverse transform at the other (overlap-save, see Oppenheim and Schafer,
Discrete-Time Signal Processing). Up to 0.9 of the Nyquist frequency of the lower rate the result equals the signal
within -110 dB, and nothing else is in it: images and aliases are below -110 dB (tests/audio/test_resampling.py).
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import fft

Samples = npt.NDArray[np.float32]
Reader = Callable[[int, int], Samples]
"""Returns frames [first, last) of a signal; fewer where it is cut short."""

# The low-pass falls from 1 to 0 over the last tenth of the band, along the integral of a Kaiser window. Its impulse
# response is below -110 dB after _REACH samples of the lower rate: so much does a block need of its neighbours.
_PASSBAND = 0.9
_KAISER_BETA = 10.0
_REACH = 96
_BLOCK_SAMPLES = 4096
_ROWS_AT_ONCE = 8
_LARGEST = 16384
_LOWEST_RATE, _HIGHEST_RATE = 1000, 768_000


def rate_problem(sample_rate: int) -> str:
    """Return why audio cannot have this rate, in Hz, or ""."""
    if _LOWEST_RATE <= sample_rate <= _HIGHEST_RATE:
        return ""
    return f"a sample rate of {sample_rate} Hz, which is not between {_LOWEST_RATE} and {_HIGHEST_RATE}"


@lru_cache(maxsize=1024)
def ratio(from_rate: int, to_rate: int, speed: float = 1.0) -> tuple[int, int]:
    """Return up and down, coprime: a signal at from_rate * speed becomes one at up / down times that.

    What resampling costs depends on their size, so they are at most 16384: for odd rates (44101 Hz) the nearest such
    ratio is taken. It is off by less than 61 ppm, mostly by far less; the clock of a sound card is hardly better.
    """
    exact = Fraction(to_rate) / (from_rate * Fraction(speed).limit_denominator(1000))
    if exact > 1:
        inverse = (1 / exact).limit_denominator(_LARGEST)
        return inverse.denominator, inverse.numerator
    nearest = exact.limit_denominator(_LARGEST)
    return nearest.numerator, nearest.denominator


def resampled_length(num_frames: int, up: int, down: int) -> int:
    """Return how many samples num_frames become."""
    return -(-num_frames * up // down)


def resample_part(read: Reader, num_frames: int, up: int, down: int, begin: int, end: int) -> Samples:
    """Return samples [begin, end) of a signal at up / down times its rate, (end - begin,).

    Args:
        read: the signal; called once.
        num_frames: its length; before and after it there is silence.
        up, down: as `ratio` returns them.
        begin, end: within the resampled length.
    """
    blocks = _blocks(up, down)
    frames_hop, samples_hop, skipped = blocks.hop * down, blocks.hop * up, blocks.margin * up
    first, last = begin // samples_hop, -(-end // samples_hop)
    start = first * frames_hop - blocks.margin * down
    signal = np.zeros((last - first) * frames_hop + 2 * blocks.margin * down, np.float32)
    frames = read(max(0, start), min(num_frames, start + len(signal)))
    signal[max(0, -start) :][: len(frames)] = frames
    rows = np.lib.stride_tricks.sliding_window_view(signal, blocks.size * down)[::frames_hop]
    samples = np.empty((len(rows), samples_hop), np.float32)
    # A few rows at a time: small arrays stay in the processor's cache, and the memory is used again.
    for row in range(0, len(rows), _ROWS_AT_ONCE):
        spectra = fft.rfft(rows[row : row + _ROWS_AT_ONCE], axis=-1)[:, : len(blocks.response)] * blocks.response
        part = fft.irfft(spectra, blocks.size * up, axis=-1, overwrite_x=True)
        samples[row : row + _ROWS_AT_ONCE] = part[:, skipped : skipped + samples_hop]
    return samples.reshape(-1)[begin - first * samples_hop : end - first * samples_hop]


@dataclass(frozen=True, slots=True)
class _Blocks:
    """How a signal is cut, in units of `down` frames, which become `up` samples: blocks begin where both do."""

    size: int
    """Of what is transformed."""
    margin: int
    """What is dropped of that on either side."""
    response: Samples
    """The low-pass over the bins of the lower rate, times the ratio of the lengths of the two transforms."""

    @property
    def hop(self) -> int:
        return self.size - 2 * self.margin


@lru_cache(maxsize=64)
def _blocks(up: int, down: int) -> _Blocks:
    lower = min(up, down)
    margin = -(-_REACH // lower)
    size = fft.next_fast_len(max(-(-_BLOCK_SAMPLES // lower), 6 * margin), real=True)
    window = np.kaiser(4097, _KAISER_BETA)
    integral = np.concatenate([[0.0], np.cumsum((window[1:] + window[:-1]) / 2)])
    # Of each bin of the lower rate, over its Nyquist frequency.
    frequencies = np.arange(size * lower // 2 + 1) * 2 / (size * lower)
    falling = np.linspace(_PASSBAND, 1, len(integral))
    response = np.interp(frequencies, falling, 1 - integral / integral[-1], left=1.0, right=0.0)
    return _Blocks(size, margin, np.asarray(response * up / down, np.float32))
