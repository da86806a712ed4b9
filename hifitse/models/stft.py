"""The short-time Fourier transform of the models, and its inverse, safe at any length."""

import functools

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
        n_fft, size = self.config.n_fft, self.config.window
        with torch.autocast(spectrum.device.type, enabled=False):
            window = nn.functional.pad(self.window, ((n_fft - size) // 2, (n_fft - size + 1) // 2))
            frames = torch.fft.irfft(spectrum.transpose(1, 2), n_fft) * window
            weights = window.square().expand(1, frames.shape[1], -1)
            kept = slice(n_fft // 2, n_fft // 2 + length)
            # Where torch.istft would read the divisor back from a GPU, to look for zeros that cannot be there.
            return self._overlapped(frames)[:, kept] / self._overlapped(weights)[:, kept]

    def _overlapped(self, frames: Tensor) -> Tensor:
        """Return the sum of frames (B, T, n_fft) that begin a hop apart: (B, n_fft + (T - 1) hop)."""
        (batch, num_frames, n_fft), hop = frames.shape, self.config.hop
        parts = -(-n_fft // hop)
        # Every part of a frame is a hop long: as many sums as there are parts, and no copy in another order.
        pieces = nn.functional.pad(frames, (0, parts * hop - n_fft)).reshape(batch, num_frames, parts, hop).unbind(2)
        shifted = [nn.functional.pad(piece, (0, 0, k, parts - 1 - k)) for k, piece in enumerate(pieces)]
        return functools.reduce(torch.add, shifted).flatten(1)[:, : n_fft + (num_frames - 1) * hop]


def scaled(spectrum: Tensor, mask: Tensor) -> Tensor:
    """Return a complex spectrum times a real mask: without the complex products that torch makes of that."""
    return torch.complex(spectrum.real * mask, spectrum.imag * mask)
