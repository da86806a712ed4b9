"""Convolutions over time and frequency, in front of a network that sees all frequencies at once."""

from typing import cast

import torch
from torch import Tensor, nn


class SpectralFront(nn.Module):
    """Finds patterns wherever in the spectrum they are, such as harmonics, and projects them to features.

    A voice at another pitch has its harmonics elsewhere: what is learned of one voice holds for others. Looks at three
    frames before and three after each one; the spectrum ends up a quarter as long.
    """

    def __init__(self, num_bins: int, channels: int, feature_dim: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, channels // 2, (3, 7), stride=(1, 2), padding=(1, 3))
        self.second = nn.Conv2d(channels // 2, channels, (3, 5), stride=(1, 2), padding=(1, 2))
        self.third = nn.Conv2d(channels, channels, 3, padding=1)
        self.projection = nn.Linear(channels * ((num_bins + 3) // 4), feature_dim, bias=False)

    def forward(self, spectrum: Tensor) -> Tensor:
        """Return features (B, T, D) of real spectra (B, T, F)."""
        # The layout in which CPU kernels are fastest, and in which the last line copies nothing.
        planes = spectrum[:, None].contiguous(memory_format=torch.channels_last)
        patterns = nn.functional.silu(self.second(nn.functional.silu(self.first(planes))))
        patterns = patterns + nn.functional.silu(self.third(patterns))
        return cast(Tensor, self.projection(patterns.permute(0, 2, 3, 1).flatten(2)))


class Pooling(nn.Module):
    """Turns features of a reference (B, T, D) into an embedding (B, E): a small network on each frame, and the mean."""

    def __init__(self, feature_dim: int, embedding_dim: int) -> None:
        super().__init__()
        self.expand = nn.Linear(feature_dim, 2 * feature_dim, bias=False)
        self.reduce = nn.Linear(2 * feature_dim, embedding_dim, bias=False)

    def forward(self, features: Tensor, is_active: Tensor) -> Tensor:
        """Return the mean over the frames that are active, (B, T) bool."""
        frames = self.reduce(nn.functional.silu(self.expand(features)))
        active = is_active.to(frames.dtype)[:, :, None]
        return cast(Tensor, (active * frames).sum(dim=1) / active.sum(dim=1))
