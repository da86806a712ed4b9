"""The short-time Fourier transform of the models, and its inverse, safe at any length."""

import torch
from torch import Tensor, nn

from hifitse.config.model import StftConfig


class Stft(nn.Module):
    """STFT with a periodic Hann window, centred frames and reflect padding, always in float32.

    Waveforms whose length is a multiple of the hop give what ``torch.stft`` and ``torch.istft`` give. Others are
    padded with zeros at the end where that is needed, see ``padded_length``.
    """

    window: Tensor

    def __init__(self, config: StftConfig) -> None:
        super().__init__()
        self.config = config
        # Not in the state: it is no parameter, and checkpoints of the original have none.
        self.register_buffer("window", torch.hann_window(config.window), persistent=False)

    def padded_length(self, length: int) -> int:
        """Return the number of samples that are transformed for a waveform of ``length`` samples.

        The inverse divides by the squared window, so a last sample that only the foot of the last window covers
        would be divided by almost nothing, and a changed spectrum would end in a spike. Unless the last sample is
        in the upper half of that window, there is one frame more. Reflect padding needs more than n_fft / 2 samples.
        """
        hop = self.config.hop
        remainder = length % hop
        if remainder > self.config.window // 4:
            length += hop - remainder
        shortest = self.config.n_fft // 2 + 1
        return length if length >= shortest else -(-shortest // hop) * hop

    def forward(self, waveform: Tensor) -> Tensor:
        """Return the complex64 spectrum (B, F, T) of a waveform (B, L) in any floating type."""
        length = waveform.shape[-1]
        with torch.autocast(waveform.device.type, enabled=False):
            padded = nn.functional.pad(waveform.float(), (0, self.padded_length(length) - length))
            return torch.stft(
                padded,
                self.config.n_fft,
                self.config.hop,
                self.config.window,
                self.window,
                center=True,
                pad_mode="reflect",
                return_complex=True,
            )

    def inverse(self, spectrum: Tensor, length: int) -> Tensor:
        """Return the float32 waveform (B, length) of a spectrum (B, F, T) that came from ``length`` samples."""
        with torch.autocast(spectrum.device.type, enabled=False):
            padded = torch.istft(
                spectrum,
                self.config.n_fft,
                self.config.hop,
                self.config.window,
                self.window,
                center=True,
                length=self.padded_length(length),
            )
        return padded[..., :length]
