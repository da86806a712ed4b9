"""A curve in one line of text."""

import math
from collections.abc import Sequence
from statistics import fmean

_LEVELS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], width: int) -> str:
    """Return a curve of at most ``width`` characters, from the lowest to the highest value.

    Where there are more values than characters, each character is the mean of its part; what is not finite is a gap.
    """
    num_bins = min(len(values), width)
    edges = [len(values) * i // num_bins for i in range(num_bins + 1)] if num_bins else []
    means = [fmean(values[start:end]) for start, end in zip(edges, edges[1:], strict=False)]
    finite = [mean for mean in means if math.isfinite(mean)]
    if not finite:
        return ""
    low, high = min(finite), max(finite)
    top = len(_LEVELS) - 1

    def level(mean: float) -> str:
        if not math.isfinite(mean):
            return " "
        return _LEVELS[round(top * (mean - low) / (high - low)) if high > low else top // 2]

    return "".join(map(level, means))
