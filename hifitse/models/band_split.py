"""From a spectrum to features per band, and from features per band to a mask."""

import torch
from torch import Tensor, nn

from hifitse.config.bands import Bands


class BandEncoder(nn.Module):
    """Reads each band's bins with its own LayerNorm and Linear.

    The norm makes the features nearly independent of the level of the input.
    """

    def __init__(self, bands: Bands, feature_dim: int) -> None:
        super().__init__()
        self.bands = bands
        widths = [last - first + 1 for first, last in bands]
        self.norms = nn.ModuleList(nn.LayerNorm(2 * width) for width in widths)
        self.projections = nn.ModuleList(nn.Linear(2 * width, feature_dim) for width in widths)

    def forward(self, spectrum: Tensor) -> Tensor:
        """Return features (B, T, N, D) of a complex spectrum (B, F, T)."""
        # Interleaved: re_0, im_0, re_1, im_1, ...
        bins = torch.view_as_real(spectrum.transpose(1, 2)).flatten(-2)
        features = [
            projection(norm(bins[..., 2 * first : 2 * last + 2]))
            for (first, last), norm, projection in zip(self.bands, self.norms, self.projections, strict=True)
        ]
        return torch.stack(features, dim=2)


class BandDecoder(nn.Module):
    """Makes an unbounded complex mask, each bin the mean of what its bands say.

    It starts as a pass-through: weights near 0, biases 1 for real and 0 for imaginary parts.
    """

    bins: Tensor
    num_bands_of_bin: Tensor

    def __init__(self, bands: Bands, feature_dim: int, num_bins: int) -> None:
        super().__init__()
        projections = [nn.Linear(feature_dim, 2 * (last - first + 1)) for first, last in bands]
        for projection in projections:
            nn.init.normal_(projection.weight, std=1e-4)
            with torch.no_grad():
                projection.bias.view(-1, 2).copy_(torch.tensor([1.0, 0.0]))
        self.projections = nn.ModuleList(projections)
        bins = torch.cat([torch.arange(first, last + 1) for first, last in bands])
        counts = torch.bincount(bins, minlength=num_bins).float()
        self.register_buffer("bins", bins, persistent=False)
        self.register_buffer("num_bands_of_bin", counts[:, None], persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """Return the complex64 mask (B, F, T) for features (B, T, N, D)."""
        parts = [project(band) for project, band in zip(self.projections, features.unbind(2), strict=True)]
        batch, frames = features.shape[:2]
        values = torch.cat(parts, dim=-1).float().view(batch, frames, -1, 2)
        total = values.new_zeros(batch, frames, len(self.num_bands_of_bin), 2)
        mask = total.index_add(2, self.bins, values) / self.num_bands_of_bin
        return torch.view_as_complex(mask).transpose(1, 2)
