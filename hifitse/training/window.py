"""The steps since the last row of metrics.jsonl: a row holds their means, not the figures of one step."""

import copy
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Window:
    """Sums over the steps taken since the last row. It is part of every checkpoint, so that an interruption inside a
    window changes no row."""

    num_steps: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    """Of each figure; that of a term goes by ``terms.NAME``."""
    counts: dict[str, int] = field(default_factory=dict)
    """Steps in which the figure was measured: without TA scenes there is no ``ta_energy_db``."""

    def add(self, figures: dict[str, float]) -> None:
        """Take note of what a step measured."""
        self.num_steps += 1
        for name, value in figures.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
            self.counts[name] = self.counts.get(name, 0) + 1

    def take(self) -> dict[str, Any]:
        """Return the means, those of terms under ``terms`` and ``weighted_terms``, and begin anew."""
        means: dict[str, Any] = {"num_steps": self.num_steps}
        for name, total in self.sums.items():
            group, _, term = name.rpartition(".")
            # Weighted terms add up to the loss: where one does not count, it is 0.
            mean = total / (self.num_steps if group == "weighted_terms" else self.counts[name])
            (means.setdefault(group, {}) if group else means)[term] = mean
        self.num_steps, self.sums, self.counts = 0, {}, {}
        return means

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Window":
        return cls(**copy.deepcopy(data))
