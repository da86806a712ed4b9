"""Train a network of your own: here, one gated recurrent unit that masks the spectrum.

    hifitse train --config demo --set model.kind=own_network:GatedMask --set model.hidden_dim=96 --run own

from the folder of this file, or from anywhere once the module is installed. Its settings are those of its
``config_class``, documented and checked like hifitse's own; audit, guards, resume, select-best, export and extract work
as with any network. A run and an exported model name the class, not its code: keep that with them.
"""

import sys
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

import hifitse


class GatedMaskConfig(hifitse.PluginConfig):
    """What can be set below model: in a configuration."""

    n_fft: Annotated[int, Field(ge=64, le=4096)] = 512
    """FFT size, in samples; the hop is half of it."""
    hidden_dim: Annotated[int, Field(ge=1, le=1024)] = 64
    """Hidden features of the recurrent unit."""


class GatedMask(nn.Module):
    """Scales each bin by 0 to 1; the reference is the first state of the recurrent unit."""

    config_class = GatedMaskConfig

    def __init__(self, config: GatedMaskConfig, sample_rate: int) -> None:
        super().__init__()
        num_bins = config.n_fft // 2 + 1
        self.n_fft = config.n_fft
        # Muon, if it is chosen, leaves to AdamW what is called input, mask, film, ...: see hifitse/optimizer.py.
        self.input = nn.Linear(num_bins, config.hidden_dim)
        self.speaker = nn.Linear(config.hidden_dim, config.hidden_dim)
        self.unit = nn.GRU(config.hidden_dim, config.hidden_dim, batch_first=True)
        self.mask = nn.Linear(config.hidden_dim, num_bins)
        nn.init.constant_(self.mask.bias, 2.0)

    def forward(self, mixture: Tensor, reference: Tensor) -> Tensor:
        """Return the estimate (B, L) for a mixture (B, L) and a reference (B, L'); an all-zero reference is none."""
        spectrum = self.transform(mixture)
        # Of silence: the logarithm of the floor in every bin; so the state says that there is none.
        state = torch.tanh(self.speaker(self.features(self.transform(reference)).mean(dim=1)))
        hidden, _ = self.unit(self.features(spectrum), state[None])
        mask = torch.sigmoid(self.mask(hidden)).transpose(1, 2)
        window = torch.hann_window(self.n_fft, device=mixture.device)
        padded = torch.istft(spectrum * mask, self.n_fft, self.n_fft // 2, window=window)
        return padded[:, : mixture.shape[-1]]

    def features(self, spectrum: Tensor) -> Tensor:
        """Return (B, T, D) of a complex spectrum (B, F, T)."""
        return self.input(torch.log(spectrum.abs() + 1e-5).transpose(1, 2))

    def transform(self, waveform: Tensor) -> Tensor:
        """Return the spectrum (B, F, T) of a waveform (B, L), with zeros at the end so that all of it is covered."""
        padded = nn.functional.pad(waveform.float(), (0, self.n_fft))
        window = torch.hann_window(self.n_fft, device=waveform.device)
        return torch.stft(padded, self.n_fft, self.n_fft // 2, window=window, return_complex=True)


def main(run: str = "runs/own_network", steps: str = "40") -> None:
    settings = ["model.kind=own_network:GatedMask", "data.num_workers=0", "train.log_every=10"]
    trained = hifitse.train(hifitse.load_config("demo", settings), run, stop_at=int(steps))
    for row in trained.metrics:
        print(f"step {row['step']}: loss {row['loss']:.3f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
