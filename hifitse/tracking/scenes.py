"""A few validation scenes to listen to and to look at."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import soundfile as sf
import torch
from numpy.typing import NDArray

_WINDOW, _NUM_COLUMNS, _RANGE_DB = 512, 400, 80.0


@dataclass(frozen=True)
class HeardScene:
    """A validation scene and what the model makes of it; each (L,) float32."""

    index: int
    mixture: NDArray[np.float32]
    reference: NDArray[np.float32]
    target: NDArray[np.float32]
    """Zeros where the target is absent."""
    estimate: NDArray[np.float32]


@dataclass(frozen=True)
class Media:
    """What is sent of a validation, by tags."""

    step: int
    sample_rate: int
    audio: dict[str, NDArray[np.int16]]
    """(L,)."""
    images: dict[str, NDArray[np.uint8]]
    """(H, W), grey: mixture, target and estimate, from top to bottom."""


def media(step: int, scenes: Sequence[HeardScene], sample_rate: int, *, with_inputs: bool) -> Media:
    """Return scenes as audio and images.

    Args:
        with_inputs: also what the estimates are made of and should be, which is always the same.
    """
    audio, images = {}, {}
    for scene in scenes:
        for part in ("mixture", "reference", "target", "estimate") if with_inputs else ("estimate",):
            samples = getattr(scene, part)
            audio[f"scene_{scene.index:05d}/{part}"] = (32767 * samples.clip(-1, 1)).round().astype(np.int16)
        images[f"scene_{scene.index:05d}/spectrograms"] = spectrograms(scene.mixture, scene.target, scene.estimate)
    return Media(step, sample_rate, audio, images)


def wav(samples: NDArray[np.int16], sample_rate: int) -> bytes:
    """Return (L,) as the bytes of a WAV file."""
    file = io.BytesIO()
    sf.write(file, samples, sample_rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


def spectrograms(first: NDArray[np.float32], *others: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return waveforms (L,), one below the other: black is the loudest of the first, white 80 dB below that."""
    levels = [_level_db(samples) for samples in (first, *others)]
    loudest = levels[0].max()
    grey = [(255 * ((loudest - level) / _RANGE_DB).clip(0, 1)).astype(np.uint8) for level in levels]
    gap = np.full_like(grey[0][:4], 128)
    return np.vstack([grey[0], *(part for picture in grey[1:] for part in (gap, picture))])


def _level_db(samples: NDArray[np.float32]) -> NDArray[np.floating]:
    """Return the spectrogram of (L,), the highest frequency first."""
    window = min(_WINDOW, len(samples))
    hop = min(window, max(1, len(samples) // _NUM_COLUMNS))
    # Not by scipy.signal, which takes longer to import than all else here but torch.
    waveform, shape = torch.from_numpy(samples), torch.hann_window(window)
    spectrum = torch.stft(waveform, window, hop, window=shape, pad_mode="constant", return_complex=True)
    level: NDArray[np.floating] = 20 * np.log10(spectrum.abs().numpy()[::-1] / (window / 2) + 1e-7)
    return level
