"""Speaker similarity: the cosine between the voices of estimate and target, as a speaker encoder hears them.

By default the encoder whose weights lie in the package resemblyzer (GE2E: L. Wan et al., "Generalized end-to-end loss
for speaker verification", ICASSP 2018), which is not imported. Any other one as an ONNX file: its input is either a
waveform (1, L) or, as WeSpeaker exports it, 80 log-mel filter banks of Kaldi's less their mean (1, T, 80).
"""

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchaudio.compliance import kaldi
from torchaudio.functional import melscale_fbanks

from hifitse.audio.files import Samples
from hifitse.errors import UsageError
from hifitse.perceptual.signals import Measured, Signals, library

SAMPLE_RATE = 16000
_LEVEL_DB = -30.0
_HOP, _N_FFT, _NUM_MELS = 160, 400, 40
_PART_FRAMES, _PART_HOP_FRAMES, _PART_COVERED = 160, 77, 0.75
_SIZE = 256


def similarity(signals: Signals) -> Measured:
    embed = _Ge2e.load() if signals.encoder is None else OnnxEncoder.load(signals.encoder)
    voices = [embed(samples) for samples in (signals.estimate, signals.target)]
    norms = [float(np.linalg.norm(voice)) for voice in voices]
    if not all(np.isfinite(norms)) or min(norms) == 0:
        return Measured(0.0, "the encoder hears no voice")
    return Measured(float(voices[0] @ voices[1]) / (norms[0] * norms[1]))


class _Ge2e:
    """resemblyzer's encoder. Pauses are heard, too: its voice activity detection is left out."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        self.lstm = nn.LSTM(_NUM_MELS, _SIZE, 3, batch_first=True)
        self.linear = nn.Linear(_SIZE, _SIZE)
        for name, module in (("lstm", self.lstm), ("linear", self.linear)):
            prefix = f"{name}."
            module.load_state_dict({k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)})
        self.window = torch.hann_window(_N_FFT)
        self.filters = melscale_fbanks(
            _N_FFT // 2 + 1, 0, SAMPLE_RATE / 2, _NUM_MELS, SAMPLE_RATE, norm="slaney", mel_scale="slaney"
        )

    @staticmethod
    @cache
    def load() -> "_Ge2e":
        """Read the weights.

        Raises:
            UsageError: resemblyzer is not installed.
        """
        found = importlib.util.find_spec("resemblyzer")
        if found is None or found.origin is None:
            raise UsageError(
                "resemblyzer is not installed; pip install --no-deps resemblyzer, or --speaker-encoder FILE"
            )
        path = Path(found.origin).parent / "pretrained.pt"
        return _Ge2e(torch.load(path, "cpu", weights_only=True)["model_state"])

    @torch.inference_mode()
    def __call__(self, samples: Samples) -> Samples:
        """Return the mean embedding of parts of 1.6 s: (L,) -> (256,)."""
        waveform = torch.from_numpy(samples)
        gain_db = _LEVEL_DB - 10 * torch.log10(waveform.square().mean())
        waveform = waveform * 10 ** (gain_db.clamp(min=0) / 20)
        num_frames = len(samples) // _HOP + 1
        starts = list(range(0, max(1, num_frames - _PART_FRAMES + _PART_HOP_FRAMES + 1), _PART_HOP_FRAMES))
        if len(starts) > 1 and len(samples) - starts[-1] * _HOP < _PART_COVERED * _PART_FRAMES * _HOP:
            starts.pop()
        missing = (starts[-1] + _PART_FRAMES) * _HOP - len(samples)
        waveform = nn.functional.pad(waveform, (0, max(missing, 0)))
        spectrum = torch.stft(
            waveform, _N_FFT, _HOP, window=self.window, pad_mode="constant", return_complex=True
        ).abs()
        mels = (self.filters.T @ spectrum.square()).T
        _, (hidden, _) = self.lstm(torch.stack([mels[start : start + _PART_FRAMES] for start in starts]))
        embeddings = nn.functional.normalize(self.linear(hidden[-1]).relu(), dim=1)
        mean: Samples = embeddings.mean(0).numpy()
        return mean


class OnnxEncoder:
    """A speaker encoder from an ONNX file."""

    def __init__(self, session: Any) -> None:
        self.session = session
        self.input = session.get_inputs()[0]

    @staticmethod
    @cache
    def load(path: Path) -> "OnnxEncoder":
        """Load an encoder.

        Raises:
            UsageError: the file is no ONNX model with one input of two or three dimensions.
        """
        runtime = library("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = 1
        if not path.is_file():
            raise UsageError(f"--speaker-encoder {path}: no such file")
        try:
            encoder = OnnxEncoder(runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"]))
        except Exception as error:
            first = str(error).splitlines()[0]
            raise UsageError(f"--speaker-encoder {path}: not readable as an ONNX model ({first})") from None
        if len(encoder.input.shape) not in (2, 3):
            raise UsageError(
                f"--speaker-encoder {path}: its input has shape {encoder.input.shape}; give one that takes a waveform "
                "(1, L) or filter banks (1, T, 80)"
            )
        return encoder

    def __call__(self, samples: Samples) -> Samples:
        features = samples[None] if len(self.input.shape) == 2 else _filter_banks(samples)[None]
        embedding: Samples = np.ravel(self.session.run(None, {self.input.name: features})[0])
        return embedding


def _filter_banks(samples: Samples) -> Samples:
    """Return Kaldi's log-mel filter banks of samples as 16-bit integers, less their mean: (L,) -> (T, 80)."""
    scaled = torch.from_numpy(samples)[None] * 2**15
    banks = kaldi.fbank(scaled, num_mel_bins=80, sample_frequency=SAMPLE_RATE, dither=0, window_type="hamming")
    centred: Samples = (banks - banks.mean(0)).numpy()
    return centred
