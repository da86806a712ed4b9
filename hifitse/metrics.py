"""What a validation measures: per-sample measurements, and the registry of metrics made from them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from torch import Tensor

from hifitse.errors import UsageError
from hifitse.losses import energy_db, si_sdr


@dataclass(frozen=True)
class Sample:
    """Measurements of one scene; TP scenes have the first four, TA scenes the last two."""

    index: int
    present: bool
    si_sdr_db: float | None = None
    si_sdri_db: float | None = None
    rms_estimate: float | None = None
    rms_target: float | None = None
    energy_db: float | None = None
    suppression_db: float | None = None

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value is not None}


def measure(indices: Sequence[int], estimate: Tensor, target: Tensor, mixture: Tensor, present: Tensor) -> list[Sample]:
    """Measure a batch of scenes, given as B scene indices, (B, L) waveforms and (B,) bool."""
    estimate, target, mixture = estimate.double(), target.double(), mixture.double()
    sdr, mixture_sdr = si_sdr(estimate, target).tolist(), si_sdr(mixture, target).tolist()
    rms_estimate, rms_target = rms(estimate).tolist(), rms(target).tolist()
    energy, mixture_energy = energy_db(estimate).tolist(), energy_db(mixture).tolist()
    samples = []
    for i, (index, is_present) in enumerate(zip(indices, present.tolist(), strict=True)):
        if is_present:
            sample = Sample(
                index,
                present=True,
                si_sdr_db=sdr[i],
                si_sdri_db=sdr[i] - mixture_sdr[i],
                rms_estimate=rms_estimate[i],
                rms_target=rms_target[i],
            )
        else:
            suppression = mixture_energy[i] - energy[i]
            sample = Sample(index, present=False, energy_db=energy[i], suppression_db=suppression)
        samples.append(sample)
    return samples


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
    """The field of Sample of which this metric is the mean; None where it is not a mean."""
    describe: str

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
    )
}


def metric(name: str) -> Metric:
    """Look a metric up by name.

    Raises:
        UsageError: there is no such metric.
    """
    if name not in METRICS:
        raise UsageError(f"unknown metric '{name}'; known: {', '.join(METRICS)}")
    return METRICS[name]


def aggregate(samples: Sequence[Sample], val_loss: float) -> dict[str, float]:
    """Return every metric of the registry over a validation's samples."""
    values = {name: _mean(samples, m.per_sample) for name, m in METRICS.items() if m.per_sample}
    values["rms_ratio"] = _mean(samples, "rms_estimate") / max(_mean(samples, "rms_target"), 1e-12)
    values["val_loss"] = val_loss
    return {name: values[name] for name in METRICS}


def _mean(samples: Sequence[Sample], field: str) -> float:
    values: list[float] = [value for sample in samples if (value := getattr(sample, field)) is not None]
    return sum(values) / len(values)
