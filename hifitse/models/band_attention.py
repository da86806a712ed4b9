"""The band attention model: attention over bands, attention over time and the reference, a complex mask; for GPUs.

No loop over bands and no recurrence: a pass is a few hundred large operations, and torch.compile captures it whole.
B is the batch, T frames of the mixture, T' of the reference, N bands, D features.
"""

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from hifitse.config.bands import mel_centers
from hifitse.config.model import BandAttentionConfig
from hifitse.models.mel_bands import MelDecoder, MelEncoder
from hifitse.models.stft import Stft
from hifitse.models.transformer import Attention, Memory, SwiGlu, rms_norm


class Voice(NamedTuple):
    """What the network knows of the reference speaker; made once, and good for any mixture."""

    features: Tensor
    """(B, T', N, D)."""
    summary: Tensor
    """(B, 1, N, D): their mean over time; zero where there is no reference."""
    is_there: Tensor
    """(B,) bool: there is a reference."""


class BandAttentionModel(nn.Module):
    """Multiplies the mixture's spectrum by a complex mask. It starts as a pass-through.

    Levels are relative: the output follows the gain of the mixture, and not that of the reference. Every attention over
    time also reads the reference's frames of its band, and a frame that is learnt; of a reference of digital silence,
    that one alone.
    """

    def __init__(self, config: BandAttentionConfig, sample_rate: int) -> None:
        super().__init__()
        self.recompute = config.activation_checkpointing is True
        centers = mel_centers(config.stft.num_bins, config.num_bands, sample_rate)
        self.stft = Stft(config.stft)
        self.encoder = MelEncoder(centers, config.feature_dim)
        self.reference_blocks = nn.ModuleList(Block(config, False) for _ in range(config.num_reference_blocks))
        self.blocks = nn.ModuleList(Block(config, True) for _ in range(config.num_blocks))
        self.decoder = MelDecoder(centers, config.feature_dim)

    def forward(self, mixture: Tensor, reference: Tensor) -> Tensor:
        """Return the estimate (B, L), float32, for a mixture (B, L) and a reference (B, L'), of any lengths.

        Under autocast the transforms and the mask stay float32. An all-zero reference means no reference.
        """
        voice = self.listen(reference)
        spectrum = self.stft(mixture)
        features = self.encoder(spectrum, _level(mixture))
        for block in self.blocks:
            features = self._run(cast(Block, block), features, voice)
        return self.stft.inverse(spectrum * self.decoder(features), mixture.shape[-1])

    def listen(self, reference: Tensor) -> Voice:
        """Return what there is to know of a reference (B, L')."""
        is_there = (reference != 0).any(dim=-1)
        features = self.encoder(self.stft(reference), _level(reference))
        for block in self.reference_blocks:
            features = self._run(cast(Block, block), features, None)
        features = rms_norm(features)
        summary = features.mean(dim=1, keepdim=True)
        return Voice(features, torch.where(is_there[:, None, None, None], summary, 0.0), is_there)

    def _run(self, block: "Block", features: Tensor, voice: Voice | None) -> Tensor:
        if self.recompute and self.training:
            # Nothing in a block is random, so there is no generator state to keep.
            return cast(Tensor, checkpoint(block, features, voice, use_reentrant=False, preserve_rng_state=False))
        return cast(Tensor, block(features, voice))


def _level(waveform: Tensor) -> Tensor:
    """Return the RMS of waveforms (B, L), (B, 1, 1) float32; 1 for digital silence."""
    level = waveform.float().square().mean(dim=-1).sqrt()[:, None, None]
    return torch.where(level > 0, level, 1.0)


class Block(nn.Module):
    """Attention over bands, attention over time and the reference, each with a feed-forward network; all added."""

    def __init__(self, config: BandAttentionConfig, with_reference: bool) -> None:
        super().__init__()
        dim, heads = config.feature_dim, config.num_heads
        self.over_bands = Attention(dim, heads, dim // heads)
        self.of_bands = SwiGlu(dim, config.hidden_dim)
        # Half of each head for distances, half for contents: the reference has no place in time.
        self.over_time = Attention(dim, heads, dim // heads // 2)
        self.of_time = SwiGlu(dim, config.hidden_dim)
        self.reference = ReferenceMemory(dim, heads) if with_reference else None

    def forward(self, features: Tensor, voice: Voice | None) -> Tensor:
        """Return (B, T, N, D) for features (B, T, N, D)."""
        batch, frames, bands, dim = features.shape
        normed = rms_norm(features).reshape(batch * frames, bands, dim)
        read = self.over_bands(normed, self.over_bands.memory(normed))
        features = features + read.view(batch, frames, bands, dim)
        features = features + self.of_bands(rms_norm(features))

        normed = rms_norm(features)
        extra = allowed = None
        if self.reference is not None and voice is not None:
            scale, shift = self.reference.film(voice.summary).chunk(2, dim=-1)
            normed = normed * (1 + scale) + shift
            extra, allowed = self.reference(voice, frames)
        normed = normed.transpose(1, 2).reshape(batch * bands, frames, dim)
        read = self.over_time(normed, self.over_time.memory(normed), allowed, extra)
        features = features + read.view(batch, bands, frames, dim).transpose(1, 2)
        return cast(Tensor, features + self.of_time(rms_norm(features)))


class ReferenceMemory(nn.Module):
    """The reference's keys and values for one attention over time, and a learnt frame that is always there."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.key = nn.Linear(dim, dim // 2, bias=False)
        self.value = nn.Linear(dim, dim, bias=False)
        self.null_key = nn.Parameter(torch.empty(dim // 2))
        self.null_value = nn.Parameter(torch.empty(dim))
        self.film = nn.Linear(dim, 2 * dim)
        for weight in (self.null_key, self.null_value, self.film.weight, self.film.bias):
            nn.init.zeros_(weight)

    def forward(self, voice: Voice, num_frames: int) -> tuple[Memory, Tensor]:
        """Return keys and values (B N, H, T' + 1, d), the learnt ones first, and who may be read beside T frames."""
        batch, length, bands = voice.features.shape[:3]
        keys, values = (
            torch.cat([null.expand(batch, 1, bands, -1), linear(voice.features)], dim=1)
            for null, linear in ((self.null_key, self.key), (self.null_value, self.value))
        )
        keys, values = (
            part.view(batch, length + 1, bands, self.num_heads, -1).permute(0, 2, 3, 1, 4).flatten(0, 1)
            for part in (keys, values)
        )
        # Their features for distances are zero: all are equally far from everything.
        keys = nn.functional.pad(keys, (keys.shape[-1], 0))
        always = torch.ones(batch, num_frames + 1, dtype=torch.bool, device=keys.device)
        allowed = torch.cat([always, voice.is_there[:, None].expand(-1, length)], dim=1)
        return Memory(keys, values), allowed.repeat_interleave(bands, dim=0)[:, None, None]
