"""The attention model: a small full-band masker without recurrence, for CPUs; its causal variant runs in real time."""

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from hifitse.config.model import AttentionConfig
from hifitse.models.compact import ACTIVE_SHARE, VoiceEncoder
from hifitse.models.convolution import Pooling, SpectralFront
from hifitse.models.stft import Stft, scaled
from hifitse.models.transformer import Attention, Memory, SwiGlu, rms_norm, window_mask

_MASK_BOUND = 2.0
"""The mask is between 0 and this; it starts near 1, so the model starts as a pass-through."""
_LOGIT_SCALE = 4.0
"""Lets the mask open and close with small weights."""
_COMPRESSION = 0.3
"""Exponent of the magnitudes, so that quiet harmonics count."""
_FLOOR = 1e-8


class Voice(NamedTuple):
    """What the network knows of the reference speaker; made once, and good for any mixture."""

    embedding: Tensor
    """(B, E); zero where there is no reference."""
    frames: Memory
    """The reference's frames, as the first attention reads them."""
    is_active: Tensor
    """(B, 1, 1, T') bool: frames with speech; all of them where there is none."""
    is_there: Tensor
    """(B, 1, 1) bool: there is a reference."""


class AttentionModel(nn.Module):
    """Scales each bin of the mixture's spectrum by a real mask.

    Every frame of the mixture first attends to the frames of the reference; then residual layers of attention over
    time and feed-forward networks follow, each modulated by the reference's embedding (FiLM, Perez et al. 2018).
    With ``conv_channels`` convolutions over time and frequency are in front, and what they find in the reference is
    also pooled into its embedding.

    All levels are relative: the output follows the gain of the mixture, and not that of the reference.

    With ``causal`` an output sample depends on no mixture sample more than (n_fft + window) / 2 samples after it:
    that is the algorithmic latency. `StreamingAttention` then gives the same output chunk by chunk.
    """

    def __init__(self, config: AttentionConfig, sample_rate: int) -> None:
        super().__init__()
        self.config = config
        num_bins, dim = config.stft.num_bins, config.feature_dim
        self.stft = Stft(config.stft)
        self.voice = VoiceEncoder(config, sample_rate)
        self.input = nn.Linear(num_bins, dim)
        self.front, self.pooling = None, None
        if config.conv_channels:
            self.front = SpectralFront(num_bins, config.conv_channels, dim)
            self.pooling = Pooling(dim, config.embedding_dim)
        self.recall = Attention(dim, config.num_reference_heads, num_rotary=0)
        self.layers = nn.ModuleList()
        for _ in range(config.num_layers):
            self.layers.append(TimeLayer(config))
            self.layers.append(FeedForwardLayer(config))
        self.layers.append(TimeLayer(config))
        self.norm = nn.LayerNorm(dim)
        self.mask = nn.Linear(dim, num_bins)
        nn.init.zeros_(self.mask.bias)
        with torch.no_grad():
            self.mask.weight.mul_(0.1)

    def forward(self, mixture: Tensor, reference: Tensor) -> Tensor:
        """Return the estimate (B, L), float32, for a mixture (B, L) and a reference (B, L'), of any lengths.

        A reference of digital silence means no reference: its embedding is zero, and none of its frames are read.
        """
        voice = self.listen(reference)
        spectrum = self.stft(mixture)
        power = _power(spectrum)
        if self.config.causal:
            level = self.causal_level(power.mean(dim=-1))
        else:
            level = mixture.float().square().mean(dim=-1).sqrt()[:, None]
        mask, _ = self.masks(power, level, voice, None)
        return self.stft.inverse(scaled(spectrum, mask.transpose(1, 2)), mixture.shape[-1])

    def listen(self, reference: Tensor) -> Voice:
        """Return what there is to know of a reference (B, L')."""
        is_there = (reference != 0).any(dim=-1)[:, None]
        power = _power(self.stft(reference))
        level = reference.float().square().mean(dim=-1).sqrt()[:, None]
        embedding = self.voice(power / (level + _FLOOR)[:, :, None].square())
        energy = power.sum(dim=-1)
        # Of silence every frame is active: there is always something to read, though it is not used.
        is_active = energy >= ACTIVE_SHARE * energy.mean(dim=-1, keepdim=True)
        features = rms_norm(self._features(power, level))
        if self.pooling is not None:
            embedding = embedding + self.pooling(features, is_active)
        embedding = torch.where(is_there, embedding, torch.zeros_like(embedding))
        return Voice(embedding, self.recall.memory(features), is_active[:, None, None], is_there[:, :, None])

    def masks(
        self, power: Tensor, level: Tensor, voice: Voice, past: list[Memory] | None
    ) -> tuple[Tensor, list[Memory]]:
        """Return the mask (B, T, F) of power spectra (B, T, F), and the memory of each attention.

        Args:
            level: RMS of the waveform at each frame, (B, T) or (B, 1).
            past: memories of the frames before these, of each attention over time.
        """
        features = self._features(power, level)
        read = self.recall(rms_norm(features), voice.frames, voice.is_active)
        features = features + torch.where(voice.is_there, read, torch.zeros_like(read))
        memories: list[Memory] = []
        for layer in self.layers:
            if isinstance(layer, TimeLayer):
                earlier = None if past is None else past[len(memories)]
                features, memory = layer(features, voice.embedding, earlier)
                memories.append(memory)
            else:
                features = layer(features, voice.embedding)
        return _MASK_BOUND * torch.sigmoid(_LOGIT_SCALE * self.mask(self.norm(features)).float()), memories

    def causal_level(self, energy: Tensor, past: Tensor | None = None) -> Tensor:
        """Return the RMS of the waveform as known at each frame (B, T): the mean over its look-back.

        Args:
            energy: mean of the power spectrum of each frame (B, T).
            past: (B, T') those of earlier frames, as many as there were, up to the look-back.
        """
        back = self.config.context_frames
        known = energy if past is None else torch.cat([past, energy], dim=1)
        ones = known.new_ones(1, known.shape[1])
        padded = nn.functional.pad(torch.cat([known, ones]), (back, 0))
        means = nn.functional.avg_pool1d(padded[:, None], back + 1, 1)[:, 0]
        mean = (means[:-1] / means[-1:])[:, -energy.shape[1] :]
        return (mean / self.stft.window.square().sum()).sqrt()

    def _features(self, power: Tensor, level: Tensor) -> Tensor:
        """Return (B, T, D) of power spectra (B, T, F): voices differ by their spectra, not by their levels."""
        magnitude = power.sqrt() / (level + _FLOOR)[:, :, None]
        compressed = (magnitude + _FLOOR) ** _COMPRESSION - 1
        features = self.input(compressed)
        return cast(Tensor, features if self.front is None else features + self.front(compressed))


def _power(spectrum: Tensor) -> Tensor:
    """Return the power (B, T, F) of a spectrum (B, F, T)."""
    frames = spectrum.transpose(1, 2)
    return frames.real.square() + frames.imag.square()


class ModulatedNorm(nn.Module):
    """Features at unit RMS, scaled and shifted by the embedding."""

    def __init__(self, config: AttentionConfig) -> None:
        super().__init__()
        self.film = nn.Linear(config.embedding_dim, 2 * config.feature_dim)

    def forward(self, features: Tensor, embedding: Tensor) -> Tensor:
        """Return (B, T, D) for features (B, T, D) and an embedding (B, E)."""
        scale, shift = self.film(embedding)[:, None].chunk(2, dim=-1)
        return cast(Tensor, rms_norm(features) * (1 + scale) + shift)


class TimeLayer(nn.Module):
    """Attention over time, as far as the context reaches; added to its input."""

    def __init__(self, config: AttentionConfig) -> None:
        super().__init__()
        self.back, self.ahead = config.context_frames, 0 if config.causal else config.context_frames
        self.norm = ModulatedNorm(config)
        self.attention = Attention(config.feature_dim, config.num_heads, config.feature_dim // config.num_heads)

    def forward(self, features: Tensor, embedding: Tensor, past: Memory | None) -> tuple[Tensor, Memory]:
        """Return (B, T, D) for features (B, T, D), and the keys and values that later frames will read."""
        normed = self.norm(features, embedding)
        memory = self.attention.memory(normed)
        if past is not None:
            memory = Memory(*(torch.cat(pair, dim=2) for pair in zip(past, memory, strict=True)))
        allowed = window_mask(features.shape[1], memory.keys.shape[2], self.back, self.ahead, features.device)
        kept = Memory(memory.keys[:, :, -self.back :], memory.values[:, :, -self.back :])
        return features + self.attention(normed, memory, allowed), kept


class FeedForwardLayer(nn.Module):
    """A feed-forward network on each frame; added to its input."""

    def __init__(self, config: AttentionConfig) -> None:
        super().__init__()
        self.norm = ModulatedNorm(config)
        self.feed_forward = SwiGlu(config.feature_dim, config.hidden_dim)

    def forward(self, features: Tensor, embedding: Tensor) -> Tensor:
        """Return (B, T, D) for features (B, T, D) and an embedding (B, E)."""
        return cast(Tensor, features + self.feed_forward(self.norm(features, embedding)))
