"""A validation in figures that say more than a mean: intervals and quantiles of each metric, and for which scenes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hifitse.evaluation.intervals import Interval, clustered_interval
from hifitse.metrics import Sample, aggregate, measured_metrics

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_NUM_RANGES = 3


@dataclass(frozen=True)
class MetricSummary:
    """What the scenes say about one metric."""

    interval: Interval
    quantiles: dict[float, float] | None
    """Over scenes; None for a share of scenes."""

    def to_json(self) -> dict[str, Any]:
        quantiles = {} if self.quantiles is None else {f"{100 * share:g}": q for share, q in self.quantiles.items()}
        median = {} if self.quantiles is None else {"median": self.quantiles[0.5]}
        return self.interval.to_json() | median | {"quantiles": quantiles}


@dataclass(frozen=True)
class Group:
    """Some of the scenes."""

    name: str
    """A speaker, a number or a range, with its unit."""
    num_scenes: int
    metrics: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        return {"group": self.name, "num_scenes": self.num_scenes, "metrics": self.metrics}


def summarize(samples: Sequence[Sample]) -> dict[str, MetricSummary]:
    """Return what there is to say about each metric that is a mean over scenes, or a ratio of two."""
    found = {}
    for metric in measured_metrics(samples):
        name = metric.name
        each = [(sample, sample.rms_ratio if name == "rms_ratio" else metric.of(sample)) for sample in samples]
        known = [sample for sample, value in each if value is not None]
        if not known:
            continue
        values = [value for _, value in each if value is not None]
        # Who speaks in an older result is not known: it may have been one speaker throughout.
        speakers = [sample.speaker or "" for sample in known]
        if name == "rms_ratio":
            levels = [[getattr(sample, level) for sample in known] for level in ("rms_estimate", "rms_target")]
            interval = clustered_interval(levels[0], speakers, levels[1])
        else:
            interval = clustered_interval(values, speakers)
        if isinstance(values[0], bool):
            found[name] = MetricSummary(_as_share(interval), None)
        else:
            found[name] = MetricSummary(interval, _quantiles(values))
    return found


def break_down(samples: Sequence[Sample]) -> dict[str, list[Group]]:
    """Return the scenes in groups: by speaker, the worst SI-SDRi first, and by what makes a scene hard.

    Older results, which do not say what their scenes are like, have no groups.
    """
    described = [sample for sample in samples if sample.speaker is not None]
    speakers = _grouped((sample.speaker, sample) for sample in described)
    counts = _grouped((str(sample.num_interferers), sample) for sample in described)
    groups = {
        "speaker": sorted(speakers, key=_quality),
        "num_interferers": sorted(counts, key=lambda group: int(group.name)),
        "sir_db": _by_range(described, "sir_db", "dB"),
        "snr_db": _by_range(described, "snr_db", "dB"),
        "reference_seconds": _by_range(described, "reference_seconds", "s"),
    }
    return {name: found for name, found in groups.items() if found}


def _as_share(interval: Interval) -> Interval:
    """Return the part of an interval between 0 and 1; Student's t does not know that a share has no other."""
    low, high = np.clip([interval.low, interval.high], 0, 1).tolist()
    return replace(interval, low=low, high=high)


def _quantiles(values: Sequence[float]) -> dict[float, float]:
    if not np.isfinite(values).all():
        return dict.fromkeys(QUANTILES, np.nan)
    return dict(zip(QUANTILES, np.quantile(values, QUANTILES).tolist(), strict=True))


def _quality(group: Group) -> float:
    quality = group.metrics["tp_si_sdri"] if "tp_si_sdri" in group.metrics else np.inf
    return -np.inf if np.isnan(quality) else quality


def _by_range(samples: Sequence[Sample], field: str, unit: str) -> list[Group]:
    """Return the scenes in ranges of a figure, about equally many in each."""
    known = [(getattr(sample, field), sample) for sample in samples if getattr(sample, field) is not None]
    if not known:
        return []
    figures = [figure for figure, _ in known]
    edges = np.unique(np.quantile(figures, np.linspace(0, 1, _NUM_RANGES + 1)))
    places = np.clip(np.searchsorted(edges, figures, side="right") - 1, 0, max(len(edges) - 2, 0))
    names = [f"{low:.1f} to {high:.1f} {unit}" for low, high in zip(edges, edges[1:], strict=False)]
    names = names or [f"{edges[0]:.1f} {unit}"]
    in_order = sorted(zip(places.tolist(), (sample for _, sample in known), strict=True), key=lambda pair: pair[0])
    return _grouped((names[place], sample) for place, sample in in_order)


def _grouped(named: Iterable[tuple[str | None, Sample]]) -> list[Group]:
    groups: dict[str, list[Sample]] = {}
    for name, sample in named:
        groups.setdefault(str(name), []).append(sample)
    return [Group(name, len(members), aggregate(members)) for name, members in groups.items()]
