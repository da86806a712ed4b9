"""The parts that the attention networks are made of. Features are (B, T, D): batch, frames, features."""

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

_NORM_EPS = 1e-5
"""Of features at unit RMS; what is all zero stays so, with a gradient of a bearable size."""
_LONGEST_PERIOD = 10_000.0
"""Of the rotary positions, in radians per frame inverted: the slowest pair of features turns once in 2 pi of this."""


def rms_norm(features: Tensor) -> Tensor:
    """Return features (..., D) at an RMS of 1, without weights (Zhang and Sennrich 2019)."""
    return nn.functional.rms_norm(features, features.shape[-1:], eps=_NORM_EPS)


def rotate(features: Tensor, positions: Tensor) -> Tensor:
    """Return features (..., T, d) turned by their positions (T,): products of two see their distance (RoPE).

    Su et al. 2021; feature i goes with feature i + d / 2, and d is even.
    """
    half = features.shape[-1] // 2
    exponents = torch.arange(half, device=features.device, dtype=torch.float32) / half
    angles = positions.to(torch.float32)[:, None] * _LONGEST_PERIOD**-exponents
    # Of complex numbers torch.compile makes no part of another operation: one sine of each angle, not one an element.
    turns = torch.view_as_real(torch.polar(torch.ones_like(angles), angles))
    cos, sin = turns.to(features.dtype).movedim(-1, 0).contiguous()
    low, high = features.chunk(2, dim=-1)
    return torch.cat([low * cos - high * sin, low * sin + high * cos], dim=-1)


class Memory(NamedTuple):
    """Keys and values that an attention reads."""

    keys: Tensor
    """(B, H, T, d), not yet turned by their positions."""
    values: Tensor
    """(B, H, T, d)."""


class Attention(nn.Module):
    """Attention with several heads and no biases; what is attended to is made once and can be kept."""

    def __init__(self, dim: int, num_heads: int, num_rotary: int) -> None:
        """``num_rotary``: how many features of each head tell distances (RoPE); the others see contents alone."""
        super().__init__()
        self.num_heads, self.num_rotary = num_heads, num_rotary
        # Three matrices rather than one: Muon makes the update of each orthogonal by itself.
        self.query = nn.Linear(dim, dim, bias=False)
        self.key = nn.Linear(dim, dim, bias=False)
        self.value = nn.Linear(dim, dim, bias=False)
        self.merge = nn.Linear(dim, dim, bias=False)

    def memory(self, features: Tensor) -> Memory:
        """Return the keys and values of features (B, T, D)."""
        return Memory(self.heads(self.key(features)), self.heads(self.value(features)))

    def forward(
        self, features: Tensor, memory: Memory, allowed: Tensor | None = None, extra: Memory | None = None
    ) -> Tensor:
        """Return (B, T, D) for queries of features (B, T, D), the last T frames of the memory if that is longer.

        Args:
            allowed: bool, broadcast to (B, H, T, T' + E): which frame may read which; None: all.
            extra: E more keys and values, without a place in time; their rotary features are zero.
        """
        queries, keys, values = self.heads(self.query(features)), memory.keys, memory.values
        if self.num_rotary:
            positions = torch.arange(keys.shape[-2], device=keys.device)
            keys = self._rotated(keys, positions)
            queries = self._rotated(queries, positions[keys.shape[-2] - queries.shape[-2] :])
        if extra is not None:
            keys, values = torch.cat([keys, extra.keys], dim=-2), torch.cat([values, extra.values], dim=-2)
        return cast(Tensor, self.merge(_attend(queries, keys, values, allowed).transpose(1, 2).flatten(2)))

    def _rotated(self, features: Tensor, positions: Tensor) -> Tensor:
        if self.num_rotary == features.shape[-1]:
            return rotate(features, positions)
        turned, plain = features.split_with_sizes([self.num_rotary, features.shape[-1] - self.num_rotary], dim=-1)
        return torch.cat([rotate(turned, positions), plain], dim=-1)

    def heads(self, features: Tensor) -> Tensor:
        """Split features among the heads: (B, T, D) to (B, H, T, d)."""
        batch, frames, dim = features.shape
        return features.view(batch, frames, self.num_heads, dim // self.num_heads).transpose(1, 2)


def _attend(queries: Tensor, keys: Tensor, values: Tensor, allowed: Tensor | None) -> Tensor:
    if queries.device.type != "cpu":
        return nn.functional.scaled_dot_product_attention(queries, keys, values, allowed)
    # In bfloat16 the backward pass of torch's kernel for CPUs takes three times as long as in float32.
    with torch.autocast("cpu", enabled=False):
        return nn.functional.scaled_dot_product_attention(queries.float(), keys.float(), values.float(), allowed)


class SwiGlu(nn.Module):
    """Feed-forward network with a gate (Shazeer 2020), no biases."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.gate = nn.Linear(dim, hidden, bias=False)
        self.up = nn.Linear(dim, hidden, bias=False)
        self.down = nn.Linear(hidden, dim, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Return (..., D) for features (..., D)."""
        return cast(Tensor, self.down(nn.functional.silu(self.gate(features)) * self.up(features)))


def window_mask(num_queries: int, num_keys: int, back: int, ahead: int, device: torch.device) -> Tensor | None:
    """Return which query may read which key, bool (T, T'): up to ``back`` frames before it and ``ahead`` behind.

    The queries are the last ones of the keys. None: all may read all.
    """
    if back >= num_keys - 1 and ahead >= num_queries - 1:
        return None
    keys = torch.arange(num_keys, device=device)
    distance = keys[None, :] - keys[num_keys - num_queries :, None]
    return (distance >= -back) & (distance <= ahead)
