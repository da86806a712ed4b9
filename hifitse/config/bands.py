"""Band layouts: which STFT bins the grid model reads together. Pure numbers, no torch.

A layout is a tuple of (first bin, last bin) pairs, both ends included, ascending, neighbours may
overlap, every bin is covered.
"""

import math

from hifitse.errors import HifitseError

Bands = tuple[tuple[int, int], ...]


def hifi_tse_48k() -> Bands:
    """Return the 53 bands over 1025 bins (n_fft 2048 at 48 kHz) of the original HiFi-TSE."""
    lowest = [(4 * i - (i > 0), 4 * i + 4) for i in range(9)] + [(35, 42)]
    middle = [(41, 60), *((58 + 16 * i, 76 + 16 * i) for i in range(16)), (314, 341)]
    highest = [(340, 370), *((368 + 27 * i, 397 + 27 * i) for i in range(23)), (989, 1024)]
    return (*lowest, *middle, *highest)


def mel_centers(num_bins: int, num_bands: int, sample_rate: int, min_gap: int = 2) -> tuple[int, ...]:
    """Return the bins at which ``num_bands`` bands are centred: the first and the last bin, and between them evenly on
    the mel scale, but at least ``min_gap`` bins apart.

    Each band reaches to the centres of its neighbours. Mel as in O'Shaughnessy 1987: 2595 log10(1 + f / 700 Hz).

    Raises:
        HifitseError: they do not fit.
    """
    last = num_bins - 1
    if num_bands < 2 or (num_bands - 1) * min_gap > last:
        raise HifitseError(f"{num_bands} bands do not fit into {num_bins} bins; use 2 to {last // min_gap + 1}")
    hertz = sample_rate / 2 / last
    mel = [math.log1p(bin_ * hertz / 700) for bin_ in range(num_bins)]
    centers = [0]
    for left in range(num_bands - 1, 0, -1):
        here = centers[-1]
        wanted = mel[here] + (mel[last] - mel[here]) / left
        nearest = min(range(here, num_bins), key=lambda bin_: abs(mel[bin_] - wanted))
        centers.append(min(max(nearest, here + min_gap), last - (left - 1) * min_gap))
    return tuple(centers)


def generated_bands(num_bins: int, num_bands: int, overlap: int = 2, min_width: int = 3) -> Bands:
    """Return ``num_bands`` bands over ``num_bins`` bins, narrow at the bottom, wider towards the top.

    Widths grow geometrically, about 16-fold from the lowest to the highest band, as the layout
    above does, but never below ``min_width`` bins; neighbours share ``overlap`` bins.

    Raises:
        HifitseError: ``num_bands`` bands of the minimum width do not fit.
    """
    if num_bands * min_width > num_bins:
        raise HifitseError(f"{num_bands} bands do not fit into {num_bins} bins; use at most {num_bins // min_width}")
    growth = 16 ** (1 / max(num_bands - 1, 1))
    weights = [growth**i for i in range(num_bands)]
    edges = [0]
    for i in range(num_bands):
        remaining_bins, remaining_weight = num_bins - edges[-1], sum(weights[i:])
        share = round(remaining_bins * weights[i] / remaining_weight)
        edges.append(edges[-1] + min(max(share, min_width), remaining_bins - (num_bands - 1 - i) * min_width))
    return tuple((max(first - overlap, 0), last - 1) for first, last in zip(edges, edges[1:], strict=False))


def band_problem(bands: Bands, num_bins: int) -> str | None:
    """Return what is wrong with a layout, or None: bands must ascend and cover bins 0..num_bins-1."""
    if not bands:
        return "no bands given"
    if bands[0][0] != 0 or bands[-1][1] != num_bins - 1:
        return f"bands span bins {bands[0][0]}-{bands[-1][1]}, the STFT has bins 0-{num_bins - 1}"
    for (first, last), (next_first, next_last) in zip(bands, bands[1:], strict=False):
        if next_first > last + 1:
            return f"bins {last + 1}-{next_first - 1} are in no band"
        if next_first <= first or next_last <= last:
            return f"band {next_first}-{next_last} does not come after band {first}-{last}"
    if any(last < first for first, last in bands):
        return "a band ends before it starts"
    return None
