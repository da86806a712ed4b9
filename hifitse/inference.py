"""Extracting a voice from waveforms of any length and rate with a trained model."""

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby, islice
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from hifitse.audio.files import Samples, resample
from hifitse.checkpoint.export import TrainedModel
from hifitse.config.model import ModelConfig
from hifitse.errors import DataError

CHUNK_SECONDS = 10.0
OVERLAP_SECONDS = 1.0
MAX_REFERENCE_SECONDS = 10.0
MIN_SECONDS = 0.1
_CHUNKS_AT_ONCE = {"cuda": 8, "cpu": 1}
"""Chunks in one batch: a GPU is not busy with one, and a CPU only needs more memory for more."""

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
        self.digest = trained.digest
        """Of the file that it was read from."""

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
        estimate = extract(self.network, batch.to(self.device), voices.to(self.device), self.sample_rate)
        result = _at_rate(estimate.cpu(), self.sample_rate, sample_rate)[:, : heard.shape[-1]].reshape(heard.shape)
        return result.numpy() if isinstance(mixture, np.ndarray) else result.to(mixture.device)


def extract(model: nn.Module, mixture: Tensor, reference: Tensor, sample_rate: int) -> Tensor:
    """Return the reference speakers' voices in mixtures: (B, L), (B or 1, L') -> (B, L).

    Long mixtures are processed in overlapping chunks that are cross-faded; of a long reference the first 10 s are used.
    """
    voices = []
    for row, voice in zip(mixture, reference.expand(len(mixture), -1), strict=True):

        def read(start: int, stop: int, row: Tensor = row) -> Tensor:
            return row[start:stop]

        voices.append(torch.cat(list(stream(model, read, len(row), voice, sample_rate))))
    return torch.stack(voices)


def stream(
    model: nn.Module, read: Callable[[int, int], Tensor], length: int, reference: Tensor, sample_rate: int
) -> Iterator[Tensor]:
    """Yield the voice in a mixture of ``length`` samples block by block, (n,) on the reference's device.

    Memory does not grow with the length: a few chunks of the mixture are there at a time. On a GPU the model runs in
    bfloat16, as it is trained.

    Args:
        read: returns the samples [start, stop) of the mixture, (stop - start,).
        reference: (L',), of which the first 10 s are used.
    """
    device = reference.device
    reference = reference[: round(MAX_REFERENCE_SECONDS * sample_rate)]
    overlap = round(OVERLAP_SECONDS * sample_rate)
    fade = torch.linspace(0, 1, overlap, device=device)
    tail: Tensor | None = None
    for group in _groups(_chunks(length, round(CHUNK_SECONDS * sample_rate), overlap), _CHUNKS_AT_ONCE[device.type]):
        chunks = torch.stack([read(start, stop).to(device) for start, stop in group])
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            estimates = model(chunks, reference.expand(len(chunks), -1)).float()
        for (_, stop), estimate in zip(group, estimates, strict=True):
            if tail is not None:
                estimate = torch.cat([fade * estimate[:overlap] + (1 - fade) * tail, estimate[overlap:]])
            kept = len(estimate) if stop == length else len(estimate) - overlap
            tail = estimate[kept:]
            yield estimate[:kept]


def _chunks(length: int, size: int, overlap: int) -> Iterator[tuple[int, int]]:
    """Yield ranges of ``size`` that overlap by ``overlap`` and cover ``length``; the last may be shorter."""
    start = 0
    while start == 0 or start + overlap < length:
        yield start, min(start + size, length)
        start += size - overlap


def _groups(chunks: Iterable[tuple[int, int]], most: int) -> Iterator[list[tuple[int, int]]]:
    """Yield lists of up to ``most`` ranges of one length, in their order."""
    for _, equal in groupby(chunks, key=lambda chunk: chunk[1] - chunk[0]):
        while group := list(islice(equal, most)):
            yield group


def _at_rate(waveforms: Tensor, from_rate: int, to_rate: int) -> Tensor:
    if from_rate == to_rate:
        return waveforms
    return torch.from_numpy(np.stack([resample(waveform, from_rate, to_rate) for waveform in waveforms.numpy()]))
