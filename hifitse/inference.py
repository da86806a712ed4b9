"""Extracting a voice from recordings of any length and rate with a trained model."""

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from hifitse.audio.files import Samples, read_audio, resample, write_audio
from hifitse.checkpoint.export import TrainedModel
from hifitse.config.model import ModelConfig
from hifitse.errors import DataError
from hifitse.losses import energy_db, si_sdr
from hifitse.metrics import rms

CHUNK_SECONDS = 10.0
OVERLAP_SECONDS = 1.0
MAX_REFERENCE_SECONDS = 10.0
MIN_SECONDS = 0.1

Waveform = TypeVar("Waveform", Samples, Tensor)


class Extractor:
    """A trained model on a device.

    extractor = hifitse.load("demo")
    voice = extractor(mixture, reference, sample_rate=48000)
    """

    def __init__(self, trained: TrainedModel, device: torch.device) -> None:
        self.network = trained.network.to(device)
        self.device = device
        self.sample_rate = trained.sample_rate
        """Of the model, in Hz."""
        self.config: ModelConfig = trained.config
        """The network's settings."""
        self.step = trained.step
        """Completed steps of the training that it comes from."""

    def __call__(self, mixture: Waveform, reference: Waveform, sample_rate: int) -> Waveform:
        """Return the reference speaker's voice in a mixture, at the same rate and length.

        Args:
            mixture: (L,) or a batch (B, L), a NumPy array or a torch tensor, full scale 1.
            reference: (L',), or (B, L') for a batch.
            sample_rate: of both, in Hz; another rate than the model's is resampled, there and back.

        Raises:
            ValueError: shapes that do not belong together.
            DataError: a waveform is shorter than 0.1 s.
        """
        heard, voice = (torch.as_tensor(waveform).float().cpu() for waveform in (mixture, reference))
        batch, voices = (waveform.reshape(-1, waveform.shape[-1]) for waveform in (heard, voice))
        if heard.ndim not in (1, 2) or voice.ndim not in (1, 2) or len(voices) not in (1, len(batch)):
            raise ValueError(f"mixture {tuple(heard.shape)} and reference {tuple(voice.shape)} do not belong together")
        for what, waveform in (("mixture", batch), ("reference", voices)):
            if waveform.shape[-1] < MIN_SECONDS * sample_rate:
                raise DataError(f"the {what} lasts {waveform.shape[-1] / sample_rate:.3f} s; give at least 0.1 s")
        batch, voices = (_at_rate(waveform, sample_rate, self.sample_rate) for waveform in (batch, voices))
        estimate = extract(
            self.network, batch.to(self.device), voices.expand(len(batch), -1).to(self.device), self.sample_rate
        )
        result = _at_rate(estimate.cpu(), self.sample_rate, sample_rate)[:, : heard.shape[-1]].reshape(heard.shape)
        return result.numpy() if isinstance(mixture, np.ndarray) else result.to(mixture.device)


def extract(model: nn.Module, mixture: Tensor, reference: Tensor, sample_rate: int) -> Tensor:
    """Return the reference speakers' voices in mixtures: (B, L), (B, L') -> (B, L).

    Long mixtures are processed in overlapping chunks that are cross-faded, so memory does not grow
    with the length; of a long reference the first 10 s are used.
    """
    reference = reference[:, : round(MAX_REFERENCE_SECONDS * sample_rate)]
    overlap = round(OVERLAP_SECONDS * sample_rate)
    estimate = torch.zeros_like(mixture)
    with torch.inference_mode():
        for start, stop in _chunks(mixture.shape[-1], round(CHUNK_SECONDS * sample_rate), overlap):
            chunk = model(mixture[:, start:stop], reference).float()
            if start > 0:
                fade = torch.linspace(0, 1, overlap, device=chunk.device)
                chunk[:, :overlap] *= fade
                estimate[:, start : start + overlap] *= 1 - fade
            estimate[:, start:stop] += chunk
    return estimate


def _chunks(length: int, size: int, overlap: int) -> Iterator[tuple[int, int]]:
    """Yield ranges of ``size`` that overlap by ``overlap`` and cover ``length``; the last may be shorter."""
    start = 0
    while start == 0 or start + overlap < length:
        yield start, min(start + size, length)
        start += size - overlap


def _at_rate(waveforms: Tensor, from_rate: int, to_rate: int) -> Tensor:
    if from_rate == to_rate:
        return waveforms
    return torch.from_numpy(np.stack([resample(waveform, from_rate, to_rate) for waveform in waveforms.numpy()]))


def extract_file(
    extractor: Extractor, mixture: Path, reference: Path, output: Path, target: Path | None
) -> dict[str, float]:
    """Extract from files into a 32-bit float WAV at the mixture's level and the model's rate.

    Args:
        target: the true voice, if known; the report then has SI-SDR and its improvement.

    Returns:
        Figures by name, with their unit in the name.

    Raises:
        DataError: a file is unreadable, too short or silent, or the output cannot be written.
    """
    rate = extractor.sample_rate
    heard, voice = (torch.from_numpy(_load(path, rate)) for path in (mixture, reference))
    estimate = extractor(heard, voice, rate)
    write_audio(output, estimate.numpy(), rate)
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


def _load(path: Path, sample_rate: int) -> Samples:
    samples = read_audio(path, sample_rate)
    if len(samples) < MIN_SECONDS * sample_rate:
        raise DataError(f"{path}: lasts {len(samples) / sample_rate:.3f} s; give at least {MIN_SECONDS} s")
    if not samples.any():
        raise DataError(f"{path}: is digital silence; give a recording of a voice")
    return samples
