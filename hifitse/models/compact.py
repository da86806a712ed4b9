"""The compact model: a small full-band masker, conditioned by a pooled reference embedding; learns fast on a CPU."""

import math
from typing import cast

import torch
from torch import Tensor, nn

from hifitse.config import CompactConfig
from hifitse.models.stft import Stft

_MASK_BOUND = 2.0
"""Largest real and imaginary part of the mask."""


class CompactModel(nn.Module):
    """Masks the mixture's spectrum. It starts near a pass-through."""

    def __init__(self, config: CompactConfig) -> None:
        super().__init__()
        num_features = 3 * config.stft.num_bins
        self.stft = Stft(config.stft)
        self.reference_encoder = nn.Sequential(
            nn.Linear(num_features, config.hidden),
            nn.LayerNorm(config.hidden),
            nn.GELU(),
            nn.Linear(config.hidden, config.embedding_dim),
        )
        self.input = nn.Linear(num_features, config.hidden)
        self.layers = nn.ModuleList(
            ModulatedLayer(config.hidden, config.embedding_dim) for _ in range(config.num_layers)
        )
        self.mask = nn.Linear(config.hidden, 2 * config.stft.num_bins)
        nn.init.normal_(self.mask.weight, std=1e-3)
        with torch.no_grad():
            self.mask.bias.view(-1, 2).copy_(torch.tensor([math.atanh(1 / _MASK_BOUND), 0.0]))

    def forward(self, mixture: Tensor, reference: Tensor) -> Tensor:
        """Return the estimate (B, L), float32, for a mixture (B, L) and a reference (B, L'), of any lengths."""
        spectrum = self.stft(mixture)
        embedding = self.reference_encoder(_compressed(self.stft(reference))).mean(dim=1)
        is_silent = (reference == 0).all(dim=-1, keepdim=True)
        embedding = torch.where(is_silent, torch.zeros_like(embedding), embedding)
        features = self.input(_compressed(spectrum))
        for layer in self.layers:
            features = layer(features, embedding)
        values = _MASK_BOUND * torch.tanh(self.mask(features).float())
        mask = torch.view_as_complex(values.view(*values.shape[:2], -1, 2)).transpose(1, 2)
        return self.stft.inverse(spectrum * mask, mixture.shape[-1])


class ModulatedLayer(nn.Module):
    """A bidirectional GRU, added to its input and normed, then scaled and shifted by the embedding (FiLM)."""

    def __init__(self, hidden: int, embedding_dim: int) -> None:
        super().__init__()
        self.gru = nn.GRU(hidden, hidden, batch_first=True, bidirectional=True)
        self.projection = nn.Linear(2 * hidden, hidden)
        self.norm = nn.LayerNorm(hidden)
        self.film = nn.Linear(embedding_dim, 2 * hidden)

    def forward(self, features: Tensor, embedding: Tensor) -> Tensor:
        """Return (B, T, H) for features (B, T, H) and an embedding (B, E)."""
        features = self.norm(features + self.projection(self.gru(features)[0]))
        scale, shift = self.film(embedding)[:, None].chunk(2, dim=-1)
        return cast(Tensor, (1 + scale) * features + shift)


def _compressed(spectrum: Tensor) -> Tensor:
    """Return |X|^0.3 and the parts of X scaled to that magnitude, (B, T, 3F), of a spectrum (B, F, T)."""
    magnitude = spectrum.abs().clamp_min(1e-8)
    power = magnitude**0.3
    scaled = spectrum * (power / magnitude)
    return torch.cat([power, scaled.real, scaled.imag], dim=1).transpose(1, 2)
