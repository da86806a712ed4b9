"""A bound on a metric: what guards judge by, and what a checkpoint must keep to be selected."""

import re
from dataclasses import dataclass

from hifitse.config.section import NUMBER
from hifitse.errors import UsageError
from hifitse.metrics import Metric, metric


@dataclass(frozen=True)
class Bound:
    """One side of a metric's range, e.g. ``rms_ratio>=0.8``."""

    metric: Metric
    at_least: bool
    value: float

    @classmethod
    def parse(cls, text: str, source: str = "--require") -> "Bound":
        """Read ``METRIC>=NUMBER`` or ``METRIC<=NUMBER``.

        Raises:
            UsageError: the text is neither, or the metric is unknown; the message names ``source``.
        """
        if not (match := re.fullmatch(rf"\s*(\w+)\s*(>=|<=)\s*({NUMBER})\s*", text)):
            raise UsageError(f"{source} '{text}': expected METRIC>=NUMBER or METRIC<=NUMBER, e.g. 'rms_ratio>=0.8'")
        return cls(metric(match[1]), match[2] == ">=", float(match[3]))

    def violation(self, metrics: dict[str, float]) -> str | None:
        """Return why these metrics are beyond the bound, or None; NaN always is, and so is what was not measured."""
        if self.metric.name not in metrics:
            return f"{self.metric.name} was not measured"
        value = metrics[self.metric.name]
        if (value >= self.value) if self.at_least else (value <= self.value):
            return None
        return f"{self.metric.name} {value:.3f} is {self.side} {self.value:.4g}"

    @property
    def side(self) -> str:
        return "below" if self.at_least else "above"
