"""The grid model: the generator of HiFi-TSE v2, a band-split grid network with cross-attention to the reference.

Parameters have the names, shapes and order of the original (HailongDing/HiFi_TSE), so that its checkpoints load as
they are, optimizer state included. B is the batch, T frames of the mixture, T' of the reference, N bands, D features.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from hifitse.config.model import GridConfig
from hifitse.models.band_split import BandDecoder, BandEncoder
from hifitse.models.lstm import Float32LSTM
from hifitse.models.stft import Stft


class GridModel(nn.Module):
    """Masks the mixture's spectrum. It starts as a pass-through."""

    def __init__(self, config: GridConfig) -> None:
        super().__init__()
        bands, dim = config.band_layout, config.feature_dim
        self.stft = Stft(config.stft)
        self.encoder = BandEncoder(bands, dim)
        self.usef = CrossAttention(dim, config.num_heads)
        self.film = Film(dim)
        self.gridnet = GridNet(config)
        self.decoder = BandDecoder(bands, dim, config.stft.num_bins)
        self.normalizes = config.normalize_level

    def forward(self, mixture: Tensor, reference: Tensor) -> Tensor:
        """Return the estimate (B, L), float32, for a mixture (B, L) and a reference (B, L'), of any lengths.

        With `normalize_level` both are scaled to unit RMS, and the estimate back to the level of the mixture.

        Under autocast the transforms and the mask stay float32. An all-zero reference gives the conditioning of
        the original's dropout: features that are all zero.
        """
        if self.normalizes:
            level = _level(mixture)
            return level * self._estimate(mixture / level, reference / _level(reference))
        return self._estimate(mixture, reference)

    def _estimate(self, mixture: Tensor, reference: Tensor) -> Tensor:
        spectrum = self.stft(mixture)
        conditioning = self.encoder(self.stft(reference))
        # Selected, not multiplied: 0 x NaN is NaN.
        is_silent = (reference == 0).all(dim=-1)[:, None, None, None]
        conditioning = torch.where(is_silent, torch.zeros_like(conditioning), conditioning)
        features = self.film(self.usef(self.encoder(spectrum), conditioning), conditioning)
        mask = self.decoder(self.gridnet(features, conditioning))
        return self.stft.inverse(spectrum * mask, mixture.shape[-1])


def _level(waveform: Tensor) -> Tensor:
    """Return the RMS of each waveform (B, L), (B, 1) float32; 1 for digital silence."""
    level = waveform.float().square().mean(dim=-1, keepdim=True).sqrt()
    return torch.where(level > 0, level, torch.ones_like(level))


class CrossAttention(nn.Module):
    """Every frame of the mixture attends to every frame of the reference, band by band (USEF-TSE)."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.cross_attn = nn.MultiheadAttention(dim, num_heads, batch_first=True)
        self.norm = nn.LayerNorm(dim)

    def forward(self, features: Tensor, conditioning: Tensor) -> Tensor:
        """Return (B, T, N, D) for features (B, T, N, D) and conditioning (B, T', N, D)."""
        query, key = _by_band(features), _by_band(conditioning)
        attended = query + _attend(self.cross_attn, query, key)
        return cast(Tensor, self.norm(_by_sample(attended, len(features))))


class Film(nn.Module):
    """Scales and shifts features by the reference's mean over time (FiLM, Perez et al. 2018). Starts as identity."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma_proj = nn.Linear(dim, dim)
        self.beta_proj = nn.Linear(dim, dim)
        nn.init.zeros_(self.gamma_proj.weight)
        nn.init.ones_(self.gamma_proj.bias)
        nn.init.zeros_(self.beta_proj.weight)
        nn.init.zeros_(self.beta_proj.bias)

    def forward(self, features: Tensor, conditioning: Tensor) -> Tensor:
        """Return (B, T, N, D) for features (B, T, N, D) and conditioning (B, T', N, D)."""
        summary = conditioning.mean(dim=1, keepdim=True)
        return cast(Tensor, self.gamma_proj(summary) * features + self.beta_proj(summary))


class GridNet(nn.Module):
    """The blocks, and the cross-attention that reminds some of them of the reference."""

    def __init__(self, config: GridConfig) -> None:
        super().__init__()
        dim, heads = config.feature_dim, config.num_heads
        self.recompute = config.activation_checkpointing is True
        self.blocks = nn.ModuleList(GridBlock(dim, config.lstm_hidden, heads) for _ in range(config.num_blocks))
        self.reinject_layers = nn.ModuleDict({str(index): CrossAttention(dim, heads) for index in config.reinject_at})

    def forward(self, features: Tensor, conditioning: Tensor) -> Tensor:
        """Return (B, T, N, D) for features (B, T, N, D) and conditioning (B, T', N, D)."""
        for index, block in enumerate(self.blocks):
            if str(index) in self.reinject_layers:
                features = self.reinject_layers[str(index)](features, conditioning)
            if self.recompute and self.training:
                # Nothing in a block is random, so there is no generator state to keep.
                features = checkpoint(block, features, use_reentrant=False, preserve_rng_state=False)
            else:
                features = block(features)
        return features


class GridBlock(nn.Module):
    """LSTM over bands, LSTM over time, attention over time; each added to its input and normed (TF-GridNet)."""

    def __init__(self, dim: int, lstm_hidden: int, num_heads: int) -> None:
        super().__init__()
        self.freq_lstm = Float32LSTM(dim, lstm_hidden, batch_first=True, bidirectional=True)
        self.freq_proj = nn.Linear(2 * lstm_hidden, dim)
        self.freq_norm = nn.LayerNorm(dim)
        self.time_lstm = Float32LSTM(dim, lstm_hidden, batch_first=True, bidirectional=True)
        self.time_proj = nn.Linear(2 * lstm_hidden, dim)
        self.time_norm = nn.LayerNorm(dim)
        self.self_attn = nn.MultiheadAttention(dim, num_heads, batch_first=True)
        self.attn_norm = nn.LayerNorm(dim)

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, T, N, D) for features (B, T, N, D)."""
        batch, frames = features.shape[:2]
        x = features.flatten(0, 1)
        x = self.freq_norm(x + self.freq_proj(self.freq_lstm(x)))
        x = _by_band(x.view(batch, frames, *x.shape[1:]))
        x = self.time_norm(x + self.time_proj(self.time_lstm(x)))
        x = self.attn_norm(x + _attend(self.self_attn, x, x))
        return _by_sample(x, batch)


def _attend(attention: nn.MultiheadAttention, query: Tensor, key: Tensor) -> Tensor:
    # Asking for the weights, the default, would write them out (136 MB a layer) and rule out the fused kernels.
    output, _ = attention(query, key, key, need_weights=False)
    return cast(Tensor, output)


def _by_band(features: Tensor) -> Tensor:
    """Fold bands into the batch: (B, T, N, D) to (B*N, T, D)."""
    return features.transpose(1, 2).flatten(0, 1)


def _by_sample(features: Tensor, batch: int) -> Tensor:
    """Unfold them: (B*N, T, D) to (B, T, N, D)."""
    return features.view(batch, -1, *features.shape[1:]).transpose(1, 2)
