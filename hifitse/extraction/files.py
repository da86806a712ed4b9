"""Extracting from a file into a file, in blocks: memory does not grow with the length."""

import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hifitse.audio.decoding import decoded
from hifitse.audio.files import (
    AudioInfo,
    Samples,
    probe_audio,
    read_audio,
    resampled_length,
    write_audio_blocks,
)
from hifitse.errors import DataError
from hifitse.extraction.jobs import Job
from hifitse.extraction.reference import read_reference
from hifitse.inference import Extractor, stream
from hifitse.losses import ENERGY_EPS, si_sdr
from hifitse.metrics import rms
from hifitse.storage import atomic_file

ABSENT_DB = -10.0
"""Presence below which the wanted voice seems absent: an output within 10 dB of its mixture counts as an extraction."""
_BLOCK_SECONDS = 10.0


@dataclass(frozen=True)
class Settings:
    """What the output is to be."""

    sample_rate: int | None = None
    """In Hz; None: that of the mixture."""
    channel: int | None = None
    """The only channel to be extracted from, counted from 0; None: all, each on its own."""


@dataclass(frozen=True)
class Outcome:
    """What became of a job."""

    job: Job
    report: dict[str, float]
    """As `extract_file` returns it; empty where it failed."""
    error: DataError | None = None

    @property
    def seems_absent(self) -> bool:
        """Whether the output is so low that the reference's voice seems absent from the mixture."""
        return not self.error and self.report["presence_db"] < ABSENT_DB

    def to_json(self) -> dict[str, Any]:
        if self.error:
            return {"mixture": str(self.job.mixture), "output": None, "error": str(self.error)}
        paths = {"mixture": str(self.job.mixture), "output": str(self.job.output)}
        return {**paths, **self.report, "seems_absent": self.seems_absent}


def extract_all(
    extractor: Extractor,
    jobs: Sequence[Job],
    settings: Settings,
    target: Path | None = None,
    advance: Callable[[float], None] = lambda seconds: None,
) -> Iterator[Outcome]:
    """Do the jobs and yield what became of each; one that fails ends none of the others."""
    for job in jobs:
        try:
            yield Outcome(job, extract_file(extractor, job, settings, target, advance))
        except DataError as error:
            yield Outcome(job, {}, error)


def extract_file(
    extractor: Extractor,
    job: Job,
    settings: Settings,
    target: Path | None = None,
    advance: Callable[[float], None] = lambda seconds: None,
) -> dict[str, float]:
    """Extract the voice into a 32-bit float WAV at the mixture's level.

    Args:
        target: the true voice, if known; the report then has SI-SDR and its improvement, at the model's rate.
        advance: called with the seconds of sound that are done since it was last called.

    Returns:
        Figures by name, with their unit in the name; `presence_db` is the level of the output over the mixture's.

    Raises:
        DataError: a file is unreadable, too short or silent, or the output cannot be written.
    """
    rate = extractor.sample_rate
    with _folder_beside(job.output) as folder:
        mixture = decoded(job.mixture, folder)
        voice = torch.from_numpy(read_reference([decoded(path, folder) for path in job.references], rate))
        info = probe_audio(mixture)
        channels = range(info.num_channels) if settings.channel is None else [settings.channel]
        heard, written, parts = _Level(), _Level(), []
        for channel in channels:
            parts.append(folder / f"channel{channel}.wav")
            blocks = _extracted(extractor, mixture, channel, voice, heard, len(channels), advance)
            write_audio_blocks(parts[-1], blocks, rate, 32)
        if heard.peak == 0:
            raise DataError(f"{job.mixture}: is digital silence; give a recording of a voice")
        output_rate = settings.sample_rate or info.sample_rate
        length = resampled_length(info.num_frames, info.sample_rate, output_rate)
        with atomic_file(job.output) as temporary:
            write_audio_blocks(
                temporary, written.measured(_joined(parts, output_rate, length)), output_rate, 32, len(parts)
            )
        report = {
            "seconds": info.num_frames / info.sample_rate,
            "mixture_rms_db": heard.rms_db,
            "output_rms_db": written.rms_db,
            "output_peak": written.peak,
            "presence_db": written.rms_db - heard.rms_db,
        }
        if target is not None:
            report |= _scores(parts, channels, mixture, decoded(target, folder), rate)
    return report


@contextmanager
def _folder_beside(output: Path) -> Iterator[Path]:
    """Yield a folder for what is only needed on the way, on the disk that has to hold the output."""
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(prefix=f".{output.stem[:40]}.", suffix=".tmp", dir=output.parent)
    except OSError as error:
        raise DataError(f"{output}: cannot be written ({error.strerror}); is its folder writable?") from None
    with folder as name:
        yield Path(name)


def _extracted(
    extractor: Extractor,
    mixture: Path,
    channel: int,
    voice: Tensor,
    heard: "_Level",
    num_channels: int,
    advance: Callable[[float], None],
) -> Iterator[Samples]:
    """Yield the voice in one channel, block by block, at the model's rate."""
    rate, info = extractor.sample_rate, probe_audio(mixture)

    def read(start: int, stop: int) -> Tensor:
        samples = read_audio(mixture, rate, start / rate, stop - start, channel=channel)
        heard.add(samples)
        return torch.from_numpy(samples)

    length = resampled_length(info.num_frames, info.sample_rate, rate)
    for block in stream(extractor.network, read, length, voice.to(extractor.device), rate):
        yield block.cpu().numpy()
        advance(len(block) / rate / num_channels)


def _joined(parts: Sequence[Path], sample_rate: int, length: int) -> Iterator[Samples]:
    """Yield what is in the files at another rate, side by side: (n,) of one, (n, num_parts) of several."""
    size = round(_BLOCK_SECONDS * sample_rate)
    for begin in range(0, length, size):
        num_samples = min(size, length - begin)
        blocks = [read_audio(part, sample_rate, begin / sample_rate, num_samples) for part in parts]
        yield blocks[0] if len(blocks) == 1 else np.stack(blocks, axis=1)


def _scores(
    parts: Sequence[Path], channels: Sequence[int], mixture: Path, target: Path, sample_rate: int
) -> dict[str, float]:
    """Return SI-SDR, its improvement and the level ratio, as means over the channels."""
    _require_reach(target, probe_audio(mixture))
    scores = []
    for part, channel in zip(parts, channels, strict=True):
        # Small enough to be held whole: somebody has made it for this mixture.
        estimate = torch.from_numpy(read_audio(part, sample_rate))
        mixed, truth = (
            torch.from_numpy(read_audio(path, sample_rate, num_samples=len(estimate), channel=channel))
            for path in (mixture, target)
        )
        estimate, mixed = estimate[: len(truth)], mixed[: len(truth)]
        reached, before = (si_sdr(x[None].double(), truth[None].double()).item() for x in (estimate, mixed))
        scores.append((reached, reached - before, (rms(estimate) / rms(truth)).item()))
    return dict(zip(("si_sdr_db", "si_sdri_db", "rms_ratio"), map(float, np.mean(scores, axis=0)), strict=True))


def _require_reach(target: Path, mixture: AudioInfo) -> None:
    """Raise DataError unless the target is as long as the mixture: in fact, not only by its header."""
    info = probe_audio(target)
    needed = round(mixture.num_frames / mixture.sample_rate * info.sample_rate)
    if info.num_frames < needed - 1:
        raise DataError(f"{target}: shorter than the mixture; give the true voice of all of it")
    read_audio(target, info.sample_rate, (min(needed, info.num_frames) - 1) / info.sample_rate, 1)


class _Level:
    """Level and peak of samples that come in blocks."""

    def __init__(self) -> None:
        self.energy, self.num_samples, self.peak = 0.0, 0, 0.0

    def add(self, samples: Samples) -> None:
        self.energy += float(np.square(samples, dtype=np.float64).sum())
        self.num_samples += samples.size
        self.peak = max(self.peak, float(np.abs(samples).max(initial=0)))

    def measured(self, blocks: Iterator[Samples]) -> Iterator[Samples]:
        """Yield the blocks, which are added."""
        for block in blocks:
            self.add(block)
            yield block

    @property
    def rms_db(self) -> float:
        return 10 * math.log10(self.energy / max(self.num_samples, 1) + ENERGY_EPS)
