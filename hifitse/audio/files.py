"""Audio files: the only module that knows a file format (libsndfile reads WAV, FLAC, OGG and MP3, `hdf5` HDF5).

Everything is float32, mono, full scale 1. Reads are ranged: a 4 s crop never decodes an hour. Nothing is used whose
result depends on the number of threads, so that the same call returns the same bits in any process.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import soundfile as sf

from hifitse.audio import hdf5, resampling
from hifitse.errors import DataError

Samples = resampling.Samples
"""float32, mono, (n,)."""
FilePath = str | PathLike[str]

FULL_SCALE_16_BIT = 32768
# Beyond integers that somebody took for floats there is no sound, but squares that overflow.
_LOUDEST = 1e10
# libsndfile says this or more where the header does not know the length.
_UNKNOWN_LENGTH = 2**60
# SFC_SET_ADD_PEAK_CHUNK in sndfile.h.
_SET_ADD_PEAK_CHUNK = 0x1050


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """What the header of a file says: its sample rate in Hz, its length in frames, and its channels."""

    sample_rate: int
    num_frames: int
    num_channels: int = 1


def probe_audio(path: FilePath) -> AudioInfo:
    """Read the header of a file.

    Raises:
        DataError: the file is missing, unreadable or holds no samples.
    """
    with _opened(path) as file:
        return AudioInfo(file.sample_rate, file.num_frames, file.num_channels)


def read_audio(
    path: FilePath,
    sample_rate: int,
    start_seconds: float = 0.0,
    num_samples: int | None = None,
    speed: float = 1.0,
    changed_ns: int = 0,
    channel: int = 0,
) -> Samples:
    """Read a part of one channel of a file at another rate and speed.

    A speed of 1.1 plays the file 1.1 times as fast, pitch included. Any part of a lossless file equals the same part
    of the whole, to the bit. How faithful resampling is says `hifitse.audio.resampling`.

    Args:
        path: a file that libsndfile can read, or the address of a recording in an HDF5 file.
        sample_rate: rate of the result, in Hz.
        start_seconds: where to start, in seconds of the file as it is (before the speed change);
            rounded to a sample of the result.
        num_samples: length of the result in samples; None: to the end.
        speed: a positive number with a small denominator, such as 0.9.
        changed_ns: time at which an HDF5 file must have changed last, in ns; 0: any.
        channel: which channel, from 0 on; of a file with fewer the last. Never an average: microphones that stand
            apart hear a sound at different times, and their sum has notches (a comb filter).

    Returns:
        float32 array (n,); n is num_samples, or less where the file ends earlier.

    Raises:
        DataError: the file is missing, unreadable, empty, cut short, changed, or has samples that are not finite.
    """
    with _opened(path, changed_ns, channel) as file:
        up, down = resampling.ratio(file.sample_rate, sample_rate, speed)
        begin = first_sample(file.sample_rate, sample_rate, start_seconds, speed)
        end = resampling.resampled_length(file.num_frames, up, down)
        if num_samples is not None:
            end = min(end, begin + num_samples)
        if begin >= end:
            return np.zeros(0, np.float32)
        if up == down:
            return _finite(file.read(begin, end), path)

        def read(first: int, last: int) -> Samples:
            return _finite(file.read(first, last), path)

        return resampling.resample_part(read, file.num_frames, up, down, begin, end)


def resample(samples: Samples, from_rate: int, to_rate: int) -> Samples:
    """Return samples (n,) at another rate, in Hz, as `read_audio` would read them from a file.

    Raises:
        DataError: from_rate is no rate of audio.
    """
    if problem := resampling.rate_problem(from_rate):
        raise DataError(problem)
    up, down = resampling.ratio(from_rate, to_rate)
    length = resampling.resampled_length(len(samples), up, down)
    if up == down or length == 0:
        return samples
    return resampling.resample_part(lambda first, last: samples[first:last], len(samples), up, down, 0, length)


def resampled_length(num_frames: int, file_rate: int, sample_rate: int) -> int:
    """Return how many samples a file of num_frames has at another rate."""
    return resampling.resampled_length(num_frames, *resampling.ratio(file_rate, sample_rate))


def first_sample(file_rate: int, sample_rate: int, start_seconds: float, speed: float) -> int:
    """Return the sample, at `sample_rate` and `speed`, at which a read from start_seconds begins."""
    up, down = resampling.ratio(file_rate, sample_rate, speed)
    return round(start_seconds * file_rate * up / down)


def write_audio(path: FilePath, samples: npt.ArrayLike, sample_rate: int) -> None:
    """Write mono samples (n,) as a 32-bit float WAV: levels above full scale are kept, nothing is clipped.

    Raises:
        DataError: the file cannot be written.
    """
    write_audio_blocks(path, [np.asarray(samples, np.float32)], sample_rate, 32)


def write_audio_blocks(
    path: FilePath, blocks: Iterable[Samples], sample_rate: int, bits: Literal[16, 32], num_channels: int = 1
) -> None:
    """Write blocks, mono (n,) or (n, num_channels), one after the other, as a WAV of 16-bit integers or 32-bit floats.

    The same samples give the same bytes, whenever they are written.

    Raises:
        DataError: the file cannot be written.
    """
    try:
        subtype = "PCM_16" if bits == 16 else "FLOAT"
        with sf.SoundFile(os.fsencode(path), "w", sample_rate, num_channels, subtype, format="WAV") as file:
            # Without libsndfile's PEAK chunk, which holds the time of writing; soundfile has no call for that.
            sf._snd.sf_command(file._file, _SET_ADD_PEAK_CHUNK, sf._ffi.NULL, 0)
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
    channel: int

    @property
    def sample_rate(self) -> int:
        return int(self.file.samplerate)

    @property
    def num_frames(self) -> int:
        return int(self.file.frames)

    @property
    def num_channels(self) -> int:
        return int(self.file.channels)

    def read(self, begin: int, end: int) -> Samples:
        """Return frames [begin, end) of the channel (n,)."""
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
        mono = frames[:, min(self.channel, frames.shape[1] - 1)]
        return mono * np.float32(1 / FULL_SCALE_16_BIT) if as_integers else np.ascontiguousarray(mono, np.float32)


@contextmanager
def _opened(path: FilePath, changed_ns: int = 0, channel: int = 0) -> Iterator[_AudioFile | hdf5.PackedRecording]:
    parts = hdf5.split_address(os.fspath(path))
    if parts is not None:
        with hdf5.opened(*parts, changed_ns) as recording:
            yield recording
        return
    if not os.path.isfile(path):
        raise DataError(f"{path}: {_why_no_file(Path(path))}")
    try:
        file = sf.SoundFile(os.fsencode(path))
    except (OSError, sf.SoundFileError) as error:
        raise DataError(f"{path}: not readable as audio ({_reason(error)}); repair or remove it") from None
    with file:
        if not 0 < file.frames < _UNKNOWN_LENGTH:
            raise DataError(f"{path}: holds no samples, or does not say how many; repair or remove it")
        if problem := resampling.rate_problem(file.samplerate):
            raise DataError(f"{path}: {problem}; repair or remove it")
        yield _AudioFile(path, file, channel)


def _why_no_file(path: Path) -> str:
    if path.is_dir():
        return "a folder, not an audio file; name a file in it"
    if path.exists():
        # To open a pipe would wait for who writes into it.
        return "not a regular file; copy what it holds into one"
    where = "" if path.is_absolute() else f" in {Path.cwd()}"
    return f"no such audio file{where}; correct the path, or put it back"


def _finite(samples: Samples, path: FilePath) -> Samples:
    if not np.isfinite(samples).all():
        raise DataError(f"{path}: has samples that are not finite (NaN or infinity); repair or remove it")
    if (peak := np.abs(samples).max(initial=0)) > _LOUDEST:
        raise DataError(f"{path}: has samples up to {peak:.2g}, where full scale is 1; scale or remove it")
    return samples


def _reason(error: Exception) -> str:
    """Return libsndfile's own words, without the path that the message already names."""
    return str(getattr(error, "error_string", error)).rstrip(".").lower()
