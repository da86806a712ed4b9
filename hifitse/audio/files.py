"""Audio files: the only module that knows a file format (libsndfile reads WAV, FLAC, OGG and MP3, `hdf5` HDF5).

Everything is float32, mono, full scale 1. Reads are ranged: a 4 s crop never decodes an hour. Only
NumPy and SciPy are used, and nothing whose result depends on the number of threads, so that the
same call returns the same bits in any process.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from os import PathLike
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import soundfile as sf
from scipy import signal

from hifitse.audio import hdf5
from hifitse.errors import DataError

Samples = npt.NDArray[np.float32]
FilePath = str | PathLike[str]

# The low-pass: 16 zero crossings a side and a Kaiser window of beta 7 keep images and aliases below
# about -70 dB, at half the cost of what the last 30 dB would take.
_ZERO_CROSSINGS = 16
_KAISER_BETA = 7.0
FULL_SCALE_16_BIT = 32768
# libsndfile says this or more where the header does not know the length.
_UNKNOWN_LENGTH = 2**60


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """What the header of a file says: its sample rate in Hz and its length in frames."""

    sample_rate: int
    num_frames: int


def probe_audio(path: FilePath) -> AudioInfo:
    """Read the header of a file.

    Raises:
        DataError: the file is missing, unreadable or holds no samples.
    """
    with _opened(path) as file:
        return AudioInfo(sample_rate=file.sample_rate, num_frames=file.num_frames)


def read_audio(
    path: FilePath,
    sample_rate: int,
    start_seconds: float = 0.0,
    num_samples: int | None = None,
    speed: float = 1.0,
    changed_ns: int = 0,
) -> Samples:
    """Read a part of a file as mono at another rate and speed.

    Channels are averaged. A speed of 1.1 plays the file 1.1 times as fast, pitch included. Any part of a
    lossless file equals the same part of the whole, to the bit.

    Args:
        path: a file that libsndfile can read, or the address of a recording in an HDF5 file.
        sample_rate: rate of the result, in Hz.
        start_seconds: where to start, in seconds of the file as it is (before the speed change);
            rounded to a sample of the result.
        num_samples: length of the result in samples; None: to the end.
        speed: a positive number with a small denominator, such as 0.9.
        changed_ns: time at which an HDF5 file must have changed last, in ns; 0: any.

    Returns:
        float32 array (n,); n is num_samples, or less where the file ends earlier.

    Raises:
        DataError: the file is missing, unreadable, empty, cut short, changed, or has samples that are not finite.
    """
    with _opened(path, changed_ns) as file:
        up, down = _ratio(file.sample_rate, sample_rate, speed)
        begin = first_sample(file.sample_rate, sample_rate, start_seconds, speed)
        end = -(-file.num_frames * up // down)
        if num_samples is not None:
            end = min(end, begin + num_samples)
        if begin >= end:
            return np.zeros(0, np.float32)
        if up == down:
            return _finite(file.read(begin, end), path)
        taps = _low_pass(up, down)
        # Frames whose taps reach the result; the first is a multiple of `down`, where the output grid
        # meets the input grid, so that every read uses the same phases of the filter.
        margin = len(taps) // 2 // up + 2
        first = max(0, begin * down // up - margin) // down * down
        last = min(file.num_frames, (end - 1) * down // up + 1 + margin)
        frames = _finite(file.read(first, last), path)
    skipped = begin - first // down * up
    resampled = signal.resample_poly(frames, up, down, window=taps)[skipped : skipped + end - begin]
    return np.ascontiguousarray(resampled, np.float32)


def resample(samples: Samples, from_rate: int, to_rate: int) -> Samples:
    """Return samples (n,) at another rate, in Hz, as `read_audio` would read them from a file."""
    up, down = _ratio(from_rate, to_rate, 1.0)
    resampled = signal.resample_poly(samples, up, down, window=_low_pass(up, down))
    return np.ascontiguousarray(resampled, np.float32)


def resampled_length(num_frames: int, file_rate: int, sample_rate: int) -> int:
    """Return how many samples a file of num_frames has at another rate."""
    up, down = _ratio(file_rate, sample_rate, 1.0)
    return -(-num_frames * up // down)


def first_sample(file_rate: int, sample_rate: int, start_seconds: float, speed: float) -> int:
    """Return the sample, at `sample_rate` and `speed`, at which a read from start_seconds begins."""
    up, down = _ratio(file_rate, sample_rate, speed)
    return round(start_seconds * file_rate * up / down)


def write_audio(path: FilePath, samples: npt.ArrayLike, sample_rate: int) -> None:
    """Write mono samples (n,) as a 32-bit float WAV: levels above full scale are kept, nothing is clipped.

    Raises:
        DataError: the file cannot be written.
    """
    write_audio_blocks(path, [np.asarray(samples, np.float32)], sample_rate, 32)


def write_audio_blocks(path: FilePath, blocks: Iterable[Samples], sample_rate: int, bits: Literal[16, 32]) -> None:
    """Write mono blocks (n,), one after the other, as a WAV file of 16-bit integers or 32-bit floats.

    Raises:
        DataError: the file cannot be written.
    """
    try:
        with sf.SoundFile(str(path), "w", sample_rate, 1, "PCM_16" if bits == 16 else "FLOAT", format="WAV") as file:
            for block in blocks:
                file.write(to_16_bit(block) if bits == 16 else block)
    except (OSError, sf.SoundFileError) as error:
        raise DataError(
            f"{path}: cannot write this audio file ({_reason(error)}); is the folder there and writable?"
        ) from None


def to_16_bit(samples: Samples) -> npt.NDArray[np.int16]:
    """Return samples between -1 and 1 - 2^-16 as integers; what came from 16 bits comes back to the bit."""
    integers: npt.NDArray[np.int16] = np.rint(samples * np.float32(FULL_SCALE_16_BIT)).astype(np.int16)
    return integers


@dataclass(frozen=True, slots=True)
class _AudioFile:
    """An open file of libsndfile's."""

    path: FilePath
    file: sf.SoundFile

    @property
    def sample_rate(self) -> int:
        return int(self.file.samplerate)

    @property
    def num_frames(self) -> int:
        return int(self.file.frames)

    def read(self, begin: int, end: int) -> Samples:
        """Return frames [begin, end), averaged over channels (n,)."""
        # The same bits as reading 16-bit files as float32, in less than half the time.
        as_integers = self.file.subtype == "PCM_16" and self.file.format in ("WAV", "WAVEX", "RF64")
        try:
            self.file.seek(begin)
            frames = self.file.read(end - begin, dtype="int16" if as_integers else "float32", always_2d=True)
        except (OSError, sf.SoundFileError) as error:
            raise DataError(
                f"{self.path}: damaged after {begin} frames ({_reason(error)}); repair or remove it"
            ) from None
        if len(frames) == 0:
            raise DataError(
                f"{self.path}: ends before frame {begin}, its header says {self.num_frames}; repair or remove it"
            )
        if as_integers:
            frames = frames * np.float32(1 / FULL_SCALE_16_BIT)
        mono: Samples = frames[:, 0] if frames.shape[1] == 1 else frames.mean(axis=1, dtype=np.float32)
        return mono


@contextmanager
def _opened(path: FilePath, changed_ns: int = 0) -> Iterator[_AudioFile | hdf5.PackedRecording]:
    parts = hdf5.split_address(os.fspath(path))
    if parts is not None:
        with hdf5.opened(*parts, changed_ns) as recording:
            yield recording
        return
    try:
        file = sf.SoundFile(str(path))
    except (OSError, sf.SoundFileError) as error:
        if not Path(path).exists():
            where = "" if Path(path).is_absolute() else f" in {Path.cwd()}"
            raise DataError(f"{path}: no such audio file{where}; correct the path, or put it back") from None
        if Path(path).is_dir():
            raise DataError(f"{path}: a folder, not an audio file; name a file in it") from None
        raise DataError(f"{path}: not readable as audio ({_reason(error)}); repair or remove it") from None
    with file:
        if not 0 < file.frames < _UNKNOWN_LENGTH:
            raise DataError(f"{path}: holds no samples, or does not say how many; repair or remove it")
        yield _AudioFile(path, file)


def _finite(samples: Samples, path: FilePath) -> Samples:
    if not np.isfinite(samples).all():
        raise DataError(f"{path}: has samples that are not finite (NaN or infinity); repair or remove it")
    return samples


def _ratio(file_rate: int, sample_rate: int, speed: float) -> tuple[int, int]:
    """Return up and down, coprime: the file counts as sampled at file_rate * speed."""
    ratio = Fraction(sample_rate) / (file_rate * Fraction(speed).limit_denominator(1000))
    return ratio.numerator, ratio.denominator


@lru_cache(maxsize=64)
def _low_pass(up: int, down: int) -> Samples:
    """Return the taps (odd number) of the anti-aliasing filter for one ratio, with unit gain."""
    highest = max(up, down)
    half = _ZERO_CROSSINGS * highest
    taps = signal.firwin(2 * half + 1, 1 / highest, window=("kaiser", _KAISER_BETA))
    return np.asarray(taps, np.float32)


def _reason(error: Exception) -> str:
    """Return libsndfile's own words, without the path that the message already names."""
    return str(getattr(error, "error_string", error)).rstrip(".").lower()
