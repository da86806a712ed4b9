"""The picture of the collapse experiment: one panel a metric, one line an objective, a band over its seeds."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

COLORS = {
    "no TA term": "#888888",
    "raw_db": "#c0392b",
    "hinge": "#e67e22",
    "hinge + anchor 1": "#2e86c1",
    "hinge + anchor 5 (default)": "#1e8449",
    "relative + anchor 5": "#8e44ad",
}
PANELS = (
    ("rms_ratio", "rms_ratio (output level over target level)"),
    ("ta_energy_db", "energy where the target is absent, dB"),
    ("tp_si_sdr", "SI-SDR where the target speaks, dB"),
)
# The run that this tool was born from, and the first attempt to cure it: thousands of steps, rms_ratio.
ORIGINAL = {
    "raw dB": [(200, 1.327), (210, 1.038), (220, 0.746), (230, 0.633)],
    "hinge": [(200, 1.180), (210, 1.038), (225, 0.906), (235, 0.738), (240, 0.752)],
}


@dataclass(frozen=True)
class Result:
    """One arm with one seed."""

    arm: str
    seed: int
    steps: list[int]
    metrics: list[dict[str, float]]
    """Of the EMA weights, at those steps; the first is the shared start."""
    stops: dict[str, tuple[int, int | None] | None]
    """For each default guard that stops: the first step that it finds unhealthy, and the one at which it would have
    stopped the run."""
    picks: dict[str, int | None]
    """What is chosen by val_loss, by tp_si_sdr alone, and by tp_si_sdr within the gate."""

    def series(self, name: str) -> list[float]:
        return [metrics[name] for metrics in self.metrics]


def draw(results: "Sequence[Result]", path: Path) -> None:
    """Write the picture."""
    figure, axes = plt.subplots(1, 4, figsize=(16, 4.6), width_ratios=(1.25, 1, 1, 0.8), layout="constrained")
    for axis, (name, title) in zip(axes, PANELS, strict=False):
        for arm, color in COLORS.items():
            ours = [result for result in results if result.arm == arm]
            if not ours:
                continue
            columns = list(zip(*(result.series(name) for result in ours), strict=True))
            means = [sum(column) / len(column) for column in columns]
            axis.plot(ours[0].steps, means, color=color, label=arm, linewidth=2)
            axis.fill_between(ours[0].steps, list(map(min, columns)), list(map(max, columns)), color=color, alpha=0.15)
        axis.set_title(title, fontsize=10, loc="left")
        axis.set_xlabel("step")
    for result in results:
        if (found := result.stops["level_low"]) and found[1] is not None:
            level = result.series("rms_ratio")[result.steps.index(found[1])]
            axes[0].plot(found[1], level, "x", color=COLORS[result.arm], markersize=8, markeredgewidth=2)
    axes[0].plot([], [], "x", color="black", label="guard level_low stops here")
    axes[0].legend(fontsize=8, frameon=False)
    for axis, highest in ((axes[0], None), (axes[3], 1.5)):
        axis.axhspan(0.8, 1.25, color="#1e8449", alpha=0.07)
        axis.set_ylim(0, highest)
    for (label, points), color in zip(ORIGINAL.items(), (COLORS["raw_db"], COLORS["hinge"]), strict=True):
        axes[3].plot(*zip(*points, strict=True), "o-", color=color, label=label)
    axes[3].set_title("rms_ratio of the original runs", fontsize=10, loc="left")
    axes[3].set_xlabel("thousand steps")
    axes[3].legend(fontsize=8, frameon=False)
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.2)
    figure.savefig(path, dpi=110)
    plt.close(figure)
