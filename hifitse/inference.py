"""Extracting a voice from a recording of any length and rate with a trained model."""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from hifitse.audio import files as audio
from hifitse.checkpoint.export import TrainedModel
from hifitse.errors import DataError
from hifitse.losses import energy_db, si_sdr
from hifitse.metrics import rms

CHUNK_SECONDS = 10.0
OVERLAP_SECONDS = 1.0
MAX_REFERENCE_SECONDS = 10.0
MIN_SECONDS = 0.1


def extract(model: nn.Module, mixture: Tensor, reference: Tensor, sample_rate: int) -> Tensor:
    """Return the reference speaker's voice in a mixture: (L,), (L',) -> (L,).

    Long mixtures are processed in overlapping chunks that are cross-faded, so memory does not grow
    with the length; of a long reference the first 10 s are used.
    """
    reference = reference[: round(MAX_REFERENCE_SECONDS * sample_rate)]
    overlap = round(OVERLAP_SECONDS * sample_rate)
    estimate = torch.zeros_like(mixture)
    with torch.inference_mode():
        for start, stop in _chunks(len(mixture), round(CHUNK_SECONDS * sample_rate), overlap):
            chunk = model(mixture[None, start:stop], reference[None])[0].float()
            if start > 0:
                fade = torch.linspace(0, 1, overlap, device=chunk.device)
                chunk[:overlap] *= fade
                estimate[start : start + overlap] *= 1 - fade
            estimate[start:stop] += chunk
    return estimate


def _chunks(length: int, size: int, overlap: int) -> Iterator[tuple[int, int]]:
    """Yield ranges of ``size`` that overlap by ``overlap`` and cover ``length``; the last may be shorter."""
    start = 0
    while start == 0 or start + overlap < length:
        yield start, min(start + size, length)
        start += size - overlap


def extract_file(
    trained: TrainedModel, device: torch.device, mixture: Path, reference: Path, output: Path, target: Path | None
) -> dict[str, float]:
    """Extract from files into a 32-bit float WAV at the mixture's level and the model's rate.

    Args:
        target: the true voice, if known; the report then has SI-SDR and its improvement.

    Returns:
        Figures by name, with their unit in the name.

    Raises:
        DataError: a file is unreadable, too short or silent, or the output cannot be written.
    """
    rate = trained.sample_rate
    heard, voice = (torch.from_numpy(_load(path, rate)) for path in (mixture, reference))
    estimate = extract(trained.network.to(device), heard.to(device), voice.to(device), rate).cpu()
    audio.write(output, estimate.numpy(), rate)
    report = {
        "seconds": len(estimate) / rate,
        "mixture_rms_db": energy_db(heard).item(),
        "output_rms_db": energy_db(estimate).item(),
        "output_peak": estimate.abs().max().item(),
    }
    if target is not None:
        truth = torch.from_numpy(_load(target, rate))[: len(estimate)]
        if len(truth) < len(estimate):
            raise DataError(f"{target}: shorter than the mixture; give the true voice of all of {mixture}")
        improved = si_sdr(estimate[None].double(), truth[None].double()).item()
        report["si_sdr_db"] = improved
        report["si_sdri_db"] = improved - si_sdr(heard[None].double(), truth[None].double()).item()
        report["rms_ratio"] = (rms(estimate) / rms(truth)).item()
    return report


def _load(path: Path, sample_rate: int) -> audio.Samples:
    samples = audio.read(path, sample_rate)
    if len(samples) < MIN_SECONDS * sample_rate:
        raise DataError(f"{path}: lasts {len(samples) / sample_rate:.3f} s; give at least {MIN_SECONDS} s")
    if not samples.any():
        raise DataError(f"{path}: is digital silence; give a recording of a voice")
    return samples
