"""One recording to one WAV file: written aside, read back and compared, and only then given its name."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from hifitse.audio.files import (
    FULL_SCALE_16_BIT,
    AudioInfo,
    Samples,
    probe_audio,
    read_audio,
    resampled_length,
    to_16_bit,
    write_audio_blocks,
)
from hifitse.audio.recording import Recording
from hifitse.errors import DataError
from hifitse.storage import atomic_file

_BLOCK_SECONDS = 600
# 16 bits are used where their noise is at least 75 dB below the peak, and nothing is clipped.
_QUIETEST_PEAK = 0.1
_LOUDEST_PEAK = 1 - 2**-16


@dataclass(frozen=True, slots=True)
class Job:
    """A recording, and where it goes."""

    recording: Recording
    name: str
    """The recording's name in its corpus."""
    speaker: str
    """Empty for noise and impulse responses."""
    target: Path
    sample_rate: int
    """Of the target, in Hz."""
    source_changed_ns: int
    """Time of change of what it is made from, in ns; the target gets the same."""
    keep_floats: bool
    """Never use 16 bits: the tail of an impulse response is far below its peak."""

    @property
    def num_samples(self) -> int:
        """Length of the target."""
        return resampled_length(self.recording.num_frames, self.recording.sample_rate, self.sample_rate)


def is_done(job: Job) -> bool:
    """Tell whether the target is there, whole, and made from the source as it is now."""
    try:
        if job.target.stat().st_mtime_ns != job.source_changed_ns:
            return False
        return probe_audio(job.target) == AudioInfo(job.sample_rate, job.num_samples)
    except (OSError, DataError):
        return False


def pack(job: Job) -> str:
    """Write and verify the target; return "", or why the recording cannot be read.

    Raises:
        DataError: the target cannot be written, or reads back as something else.
    """
    try:
        # What is long is read three times, but never held in memory.
        kept = list(_blocks(job)) if job.num_samples <= _BLOCK_SECONDS * job.sample_rate else None
        bits = _bits(kept or _blocks(job), job.keep_floats)
    except DataError as error:
        return str(error)
    with atomic_file(job.target) as temporary:
        write_audio_blocks(temporary, kept or _blocks(job), job.sample_rate, bits)
        _verify(temporary, kept or _blocks(job), job.sample_rate, bits)
        os.utime(temporary, ns=(job.source_changed_ns, job.source_changed_ns))
    return ""


def _blocks(job: Job) -> Iterator[Samples]:
    """Yield the recording at the target's rate, (n,) by (n,)."""
    recording, size = job.recording, _BLOCK_SECONDS * job.sample_rate
    for start in range(0, job.num_samples, size):
        yield read_audio(
            recording.path,
            job.sample_rate,
            start / job.sample_rate,
            size,
            changed_ns=recording.changed_ns,
            channel=recording.channel,
        )


def _bits(blocks: Iterable[Samples], keep_floats: bool) -> Literal[16, 32]:
    extremes = [(-float(block.min()), float(block.max())) for block in blocks]
    lowest, highest = (max(values) for values in zip(*extremes, strict=True))
    fits = lowest <= 1 and highest < _LOUDEST_PEAK and max(lowest, highest) >= _QUIETEST_PEAK
    return 16 if fits and not keep_floats else 32


def _verify(path: Path, blocks: Iterable[Samples], sample_rate: int, bits: int) -> None:
    start = 0
    for block in blocks:
        expected = to_16_bit(block) / np.float32(FULL_SCALE_16_BIT) if bits == 16 else block
        if not np.array_equal(read_audio(path, sample_rate, start / sample_rate, len(block)), expected):
            raise DataError(f"{path}: reads back as something else than was written; check the disk, and pack again")
        start += len(block)
