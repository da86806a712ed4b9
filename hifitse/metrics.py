"""What a validation measures: per-sample measurements, and the registry of metrics made from them."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from hifitse.errors import UsageError
from hifitse.losses import energy_db, si_sdr

REJECTED_DB = -10.0
"""A TP output that far below its target was taken for absent: a rejection."""
FAILED_DB = 1.0
"""SI-SDRi below which a TP scene is a failure."""
SUPPRESSED_DB = 10.0
"""A TA output that is less than that below its mixture is a false extraction."""


@dataclass(frozen=True)
class Sample:
    """Measurements of one scene, and what is known of it.

    TP scenes have the four from si_sdr_db on, TA scenes the two after them. All below those is not in results of
    versions that did not measure it, and neither is what follows from it.
    """

    index: int
    present: bool
    si_sdr_db: float | None = None
    si_sdri_db: float | None = None
    rms_estimate: float | None = None
    rms_target: float | None = None
    energy_db: float | None = None
    suppression_db: float | None = None
    presence_score_db: float | None = None
    """Level of the estimate over that of the mixture: the higher, the surer the model is that the target speaks."""
    interferer_si_sdr_db: float | None = None
    """TP: SI-SDR of the estimate with the interferer that it is nearest to in place of the target."""
    speaker: str | None = None
    """The target's."""
    num_interferers: int | None = None
    sir_db: float | None = None
    """TP: level of the target over the loudest interferer's."""
    snr_db: float | None = None
    """Level of all speech over the noise; None also where there is no noise."""
    reference_seconds: float | None = None
    """How long somebody speaks in the reference."""
    perceptual: dict[str, float] | None = None
    """TP: of `hifitse.perceptual`, by name, those that were asked for and are defined."""

    @property
    def rms_ratio(self) -> float | None:
        """TP: level of the output over that of the target."""
        if self.rms_estimate is None or self.rms_target is None:
            return None
        return self.rms_estimate / max(self.rms_target, 1e-12)

    @property
    def is_rejection(self) -> bool | None:
        """TP: whether the output is over 10 dB below its target, as if that were absent."""
        return None if self.rms_ratio is None else self.rms_ratio < 10 ** (REJECTED_DB / 20)

    @property
    def is_confusion(self) -> bool | None:
        """TP: whether the output is nearer, by SI-SDR, to an interferer than to the target."""
        if self.si_sdr_db is None or self.interferer_si_sdr_db is None:
            return None
        return self.interferer_si_sdr_db > self.si_sdr_db

    @property
    def is_failure(self) -> bool | None:
        """TP: whether SI-SDR improves by less than 1 dB."""
        return None if self.si_sdri_db is None else not self.si_sdri_db >= FAILED_DB

    @property
    def is_false_extraction(self) -> bool | None:
        """TA: whether the output is within 10 dB of its mixture."""
        return None if self.suppression_db is None else not self.suppression_db >= SUPPRESSED_DB

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value is not None}


def measure(
    indices: Sequence[int],
    estimate: Tensor,
    target: Tensor,
    mixture: Tensor,
    present: Tensor,
    interferers: Tensor | None = None,
) -> list[Sample]:
    """Measure a batch of scenes, given as B scene indices, (B, L) waveforms and (B,) bool.

    Args:
        interferers: (B, N, L), zeros where a scene has fewer than N; None: not known.
    """
    estimate, target, mixture = estimate.double(), target.double(), mixture.double()
    sdr, mixture_sdr = si_sdr(estimate, target).tolist(), si_sdr(mixture, target).tolist()
    rms_estimate, rms_target = rms(estimate).tolist(), rms(target).tolist()
    energy, mixture_energy = energy_db(estimate).tolist(), energy_db(mixture).tolist()
    interferer_sdr = None if interferers is None else _nearest_si_sdr(estimate, interferers).tolist()
    samples = []
    for i, (index, is_present) in enumerate(zip(indices, present.tolist(), strict=True)):
        score = energy[i] - mixture_energy[i]
        if is_present:
            sample = Sample(
                index,
                present=True,
                si_sdr_db=sdr[i],
                si_sdri_db=sdr[i] - mixture_sdr[i],
                rms_estimate=rms_estimate[i],
                rms_target=rms_target[i],
                presence_score_db=score,
                interferer_si_sdr_db=None if interferer_sdr is None else interferer_sdr[i],
            )
        else:
            sample = Sample(index, present=False, energy_db=energy[i], suppression_db=-score, presence_score_db=score)
        samples.append(sample)
    return samples


def _nearest_si_sdr(estimate: Tensor, interferers: Tensor) -> Tensor:
    """Return the highest SI-SDR in dB that an interferer would give: (B, L), (B, N, L) -> (B,)."""
    # One at a time: together they would take N times the memory.
    each = torch.stack([si_sdr(estimate, part.double()) for part in interferers.unbind(1)])
    return each.masked_fill(~interferers.any(-1).T, -torch.inf).amax(0)


def rms(waveform: Tensor) -> Tensor:
    """Return the root mean square per sample: (B, L) -> (B,)."""
    return waveform.square().mean(-1).sqrt()


@dataclass(frozen=True)
class Metric:
    """One figure of a validation: its unit, which direction is better, and its value over all samples."""

    name: str
    unit: str
    better: Literal["higher", "lower", "near 1"]
    per_sample: str | None
    """The attribute of Sample of which this metric is the mean; None where it is not a mean."""
    describe: str
    is_perceptual: bool = False
    """Whether it is one of `hifitse.perceptual`, which are measured where they are asked for."""

    def of(self, sample: Sample) -> float | bool | None:
        """Return what a scene says about it; None where it is not defined, or no mean."""
        if self.is_perceptual:
            return (sample.perceptual or {}).get(str(self.per_sample))
        return getattr(sample, self.per_sample) if self.per_sample else None

    def cost(self, value: float) -> float:
        """Return a number that is lower for better values."""
        match self.better:
            case "higher":
                return -value
            case "lower":
                return value
            case "near 1":
                return abs(value - 1)


METRICS = {
    metric.name: metric
    for metric in (
        Metric("tp_si_sdr", "dB", "higher", "si_sdr_db", "mean SI-SDR over TP scenes"),
        Metric("tp_si_sdri", "dB", "higher", "si_sdri_db", "mean improvement of SI-SDR over the mixture"),
        Metric("rms_ratio", "", "near 1", None, "sum of RMS(estimate) over sum of RMS(target), TP scenes"),
        Metric("ta_energy_db", "dB", "lower", "energy_db", "mean energy of the estimate over TA scenes"),
        Metric(
            "ta_suppression_db", "dB", "higher", "suppression_db", "mean of mixture minus estimate energy, TA scenes"
        ),
        Metric("val_loss", "", "lower", None, "the training objective over the validation scenes"),
        Metric("rejection_rate", "", "lower", "is_rejection", "share of TP outputs over 10 dB below their target"),
        Metric("confusion_rate", "", "lower", "is_confusion", "share of TP outputs nearer to an interferer"),
        Metric("failure_rate", "", "lower", "is_failure", "share of TP scenes with SI-SDRi below 1 dB"),
        Metric(
            "false_extraction_rate",
            "",
            "lower",
            "is_false_extraction",
            "share of TA outputs within 10 dB of the mixture",
        ),
        Metric("presence_eer", "", "lower", None, "equal error rate of presence, by output level over mixture level"),
    )
}
MAIN_METRICS = list(METRICS)[:6]
"""Those that every result has, and every table; the others say what went wrong, and older results do not have them."""


def metric(name: str) -> Metric:
    """Look a metric up by name; ``tp_`` before that of a perceptual one.

    Raises:
        UsageError: there is no such metric.
    """
    if name in METRICS:
        return METRICS[name]
    # It brings what is only needed where it is asked for.
    from hifitse.perceptual.registry import PERCEPTUAL

    plain = name.removeprefix("tp_")
    if plain == name or plain not in PERCEPTUAL:
        known = [*METRICS, *(f"tp_{of_pair}" for of_pair in PERCEPTUAL)]
        raise UsageError(f"unknown metric '{name}'; known: {', '.join(known)}")
    found = PERCEPTUAL[plain]
    return Metric(name, found.unit, found.better, plain, f"mean {found.heading} over TP scenes", is_perceptual=True)


def measured_metrics(samples: Sequence[Sample]) -> list[Metric]:
    """Return the metrics of the registry, and the perceptual ones that samples have values of."""
    perceptual = dict.fromkeys(name for sample in samples for name in sample.perceptual or ())
    return [*METRICS.values(), *(metric(f"tp_{name}") for name in perceptual)]


def aggregate(samples: Sequence[Sample], val_loss: float | None = None) -> dict[str, float]:
    """Return the metrics over samples, in the order of the registry: those that the samples have values for."""
    values = {m.name: _mean([m.of(sample) for sample in samples]) for m in measured_metrics(samples)}
    target, estimate = (_mean([getattr(sample, name) for sample in samples]) for name in ("rms_target", "rms_estimate"))
    values["rms_ratio"] = None if target is None or estimate is None else estimate / max(target, 1e-12)
    values["val_loss"] = val_loss
    values["presence_eer"] = presence_eer(samples)
    return {name: value for name, value in values.items() if value is not None}


def presence_eer(samples: Sequence[Sample]) -> float | None:
    """Return the equal error rate of telling TP from TA scenes by a threshold on presence_score_db.

    It is the mean of both error rates at the threshold where they are nearest to each other; NaN where a score is no
    number, None where there are no scores of both kinds.
    """
    scored = [(s.presence_score_db, s.present) for s in samples if s.presence_score_db is not None]
    scores, present = np.array([score for score, _ in scored]), np.array([tp for _, tp in scored], dtype=bool)
    if not present.any() or present.all():
        return None
    if np.isnan(scores).any():
        return math.nan
    thresholds = np.append(np.unique(scores), np.inf)
    misses = np.searchsorted(np.sort(scores[present]), thresholds) / present.sum()
    false_alarms = 1 - np.searchsorted(np.sort(scores[~present]), thresholds) / (~present).sum()
    nearest = np.abs(misses - false_alarms).argmin()
    return float((misses[nearest] + false_alarms[nearest]) / 2)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
