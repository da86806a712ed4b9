"""The guard on steps: is this gradient finite, and is its norm anything like the recent ones?"""

import math
import statistics
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from hifitse.config.policies import HealthConfig

Skip = Literal["non_finite", "spike"]
"""Why a step was not taken."""


@dataclass
class GradientGuard:
    """The recent gradient norms, and how many steps in a row were unhealthy. It is part of every checkpoint."""

    norms: list[float] = field(default_factory=list)
    """Of the last health.spike.window finite steps, oldest first."""
    num_non_finite: int = 0
    """Steps in a row up to now whose loss or gradient was not finite."""
    num_spikes: int = 0
    """Spikes in a row up to now."""
    median: float | None = None
    """Median of the window before the last step, once it judges."""

    def judge(self, config: HealthConfig, loss: float, grad_norm: float) -> Skip | None:
        """Take note of a step, and return why it should not be taken, or None."""
        if not (math.isfinite(loss) and math.isfinite(grad_norm)):
            # It never enters the window: nothing could be compared with it.
            self.num_non_finite += 1
            return "non_finite"
        self.num_non_finite = 0
        judges = config.spike.action != "ignore" and len(self.norms) >= config.spike.window // 2
        self.median = statistics.median(self.norms) if judges else None
        is_spike = self.median is not None and grad_norm > config.spike.factor * self.median
        self.num_spikes = self.num_spikes + 1 if is_spike else 0
        self.norms = [*self.norms, grad_norm][-config.spike.window :]
        return "spike" if is_spike else None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "GradientGuard":
        return cls(**data)
