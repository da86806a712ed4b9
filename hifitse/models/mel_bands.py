"""From a spectrum to features of mel bands, and from features of mel bands to a mask, without a loop over them.

A band reaches from the centre of the one below to the centre of the one above. So what lies between two neighbouring
centres, a stretch, belongs to two bands, the lower and the upper, and is read and made by one product of matrices for
all stretches. B is the batch, T frames, F bins, N bands, S = N - 1 stretches of at most W bins, D features.
"""

import torch
from torch import Tensor, nn

from hifitse.models.transformer import rms_norm

_COMPRESSION = 0.3
"""Exponent of the magnitudes, so that quiet harmonics count."""
_FLOOR = 1e-8
"""Of magnitudes and energies at a waveform's unit RMS."""
_COMPLEX_SHARE = 0.25
"""How much complex numbers weigh against magnitudes, which tell more to a network that knows nothing yet."""


class MelEncoder(nn.Module):
    """Reads each band's bins: their compressed magnitudes, and what they are at the band's unit level."""

    bins: Tensor
    rows: Tensor
    complex_rows: Tensor
    members: Tensor

    def __init__(self, centers: tuple[int, ...], feature_dim: int) -> None:
        super().__init__()
        bins, inside = _stretches(centers)
        members = _members(centers)
        counts: list[int] = members.sum(dim=1).tolist()
        self.register_buffer("bins", bins, persistent=False)
        self.register_buffer("rows", _rows(bins, inside, members, 1), persistent=False)
        self.register_buffer("complex_rows", _rows(bins, inside, members, 2), persistent=False)
        self.register_buffer("members", (members / members.sum(dim=1, keepdim=True)).T.contiguous(), persistent=False)
        self.weight = _weights_of_bands(counts, feature_dim)
        self.complex_weight = _weights_of_bands([2 * count for count in counts], feature_dim)
        self.bias = nn.Parameter(torch.empty(len(centers), feature_dim))
        nn.init.zeros_(self.bias)

    def forward(self, spectrum: Tensor, level: Tensor) -> Tensor:
        """Return features (B, T, N, D) of a complex spectrum (B, F, T) of a waveform with this RMS (B, 1, 1)."""
        values = torch.view_as_real(spectrum.transpose(1, 2)) / level[..., None]
        power = values.square().sum(dim=-1)
        with torch.autocast(values.device.type, enabled=False):
            strength = (power @ self.members + _FLOOR).sqrt()
        magnitudes = (power.sqrt() + _FLOOR) ** _COMPRESSION - 1
        # Scaled after the product, where there are fewer numbers.
        scale = (_COMPLEX_SHARE / strength)[..., None]
        phases = scale * self._read(values, self.complex_weight, self.complex_rows)
        return phases + self._read(magnitudes[..., None], self.weight, self.rows) + self.bias

    def _read(self, values: Tensor, weight: Tensor, rows: Tensor) -> Tensor:
        """Return the products of all bands, (B, T, N, D), for V values of each bin, (B, T, F, V)."""
        stretches = values[:, :, self.bins].flatten(-2)
        lower, upper = torch.einsum("btsw,swd->btsd", stretches, _padded(weight, rows).flatten(-2)).chunk(2, dim=-1)
        return nn.functional.pad(lower, (0, 0, 0, 1)) + nn.functional.pad(upper, (0, 0, 1, 0))


class MelDecoder(nn.Module):
    """Makes an unbounded complex mask; between two centres it fades from one band's to the other's.

    It starts as a pass-through.
    """

    rows: Tensor
    shares: Tensor
    places: Tensor

    def __init__(self, centers: tuple[int, ...], feature_dim: int) -> None:
        super().__init__()
        bins, inside = _stretches(centers)
        members = _members(centers)
        first, last = torch.tensor(centers[:-1])[:, None], torch.tensor(centers[1:])[:, None]
        upper = ((bins - first) / (last - first)).repeat_interleave(2, dim=1)
        self.register_buffer("rows", _rows(bins, inside, members, 2), persistent=False)
        self.register_buffer("shares", torch.stack([1 - upper, upper], dim=-1)[..., None], persistent=False)
        # Each bin is once inside of an upper band's part of the stretches, in this order.
        self.register_buffer("places", inside[..., 1].flatten().nonzero()[:, 0], persistent=False)
        num_values = 2 * int(members.sum())
        self.weight = nn.Parameter(torch.empty(num_values, feature_dim))
        self.bias = nn.Parameter(torch.empty(num_values, 1))
        nn.init.normal_(self.weight, std=1e-4)
        with torch.no_grad():
            self.bias.view(-1, 2).copy_(torch.tensor([1.0, 0.0]))

    def forward(self, features: Tensor) -> Tensor:
        """Return the complex64 mask (B, F, T) for features (B, T, N, D)."""
        normed = rms_norm(features)
        both = torch.cat([normed[:, :, :-1], normed[:, :, 1:]], dim=-1)
        weight, bias = (self.shares * _padded(part, self.rows) for part in (self.weight, self.bias))
        values = torch.einsum("btsd,swd->btsw", both, weight.flatten(-2)).float() + bias.sum(dim=(-2, -1))
        mask = torch.view_as_complex(values.reshape(*values.shape[:2], -1, 2))
        return mask[:, :, self.places].transpose(1, 2)


def _weights_of_bands(sizes: list[int], feature_dim: int) -> nn.Parameter:
    """Return weights as in a Linear of each band's own size, one below the other."""
    weights = nn.Parameter(torch.empty(sum(sizes), feature_dim))
    for part, size in zip(torch.split(weights, sizes), sizes, strict=True):
        nn.init.uniform_(part, -(size**-0.5), size**-0.5)
    return weights


def _members(centers: tuple[int, ...]) -> Tensor:
    """Return which bins are in which band, (N, F) bool."""
    first, last = (centers[0], *centers[:-1]), (*centers[1:], centers[-1])
    bins = torch.arange(centers[-1] + 1)
    return (bins >= torch.tensor(first)[:, None]) & (bins <= torch.tensor(last)[:, None])


def _stretches(centers: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Return the bins of each stretch, both centres included, (S, W); and which the two bands have there, (S, W, 2).

    A centre between two stretches is in both, and its own band has it in the upper one.
    """
    first, last = torch.tensor(centers[:-1])[:, None], torch.tensor(centers[1:])[:, None]
    bins = first + torch.arange(int((last - first).max()) + 1)
    lower = bins <= last
    upper = lower & ((bins < last) | (last == centers[-1]))
    return torch.where(lower, bins, 0), torch.stack([lower, upper], dim=-1)


def _rows(bins: Tensor, inside: Tensor, members: Tensor, num_values: int) -> Tensor:
    """Return which row of all bands' weights the two bands have for the values of each bin, (S, V W, 2).

    The rows are in the order of bands, bins and values. Where a band has none it is the first one behind the last.
    """
    number = (members.flatten().cumsum(0) - 1).view(members.shape)
    first = num_values * torch.stack([number[:-1].gather(1, bins), number[1:].gather(1, bins)], dim=-1)
    rows = first[:, :, None] + torch.arange(num_values)[:, None]
    return torch.where(inside[:, :, None], rows, num_values * members.sum()).flatten(1, 2)


def _padded(weight: Tensor, rows: Tensor) -> Tensor:
    """Return these rows of weights (M, D), zero for the first behind the last."""
    return nn.functional.pad(weight, (0, 0, 0, 1))[rows]
