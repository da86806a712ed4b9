"""The registry of perceptual metrics: name, unit, direction and rate of each. Nothing of them is downloaded."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from hifitse.errors import UsageError
from hifitse.perceptual import bss_eval, dnsmos, quality, speaker
from hifitse.perceptual.signals import Measured, Signals, at_rate


@dataclass(frozen=True)
class PerceptualMetric:
    """A figure of one pair whose target is present."""

    name: str
    unit: str
    better: Literal["higher"]
    sample_rate: int | None
    """What it hears at, in Hz: what it is given is brought there; None: at any rate."""
    heading: str
    """Its name in papers."""
    measure: Callable[[Signals], Measured]


def _metric(
    name: str, unit: str, sample_rate: int | None, heading: str, measure: Callable[[Signals], Measured]
) -> PerceptualMetric:
    return PerceptualMetric(name, unit, "higher", sample_rate, heading, measure)


PERCEPTUAL = {
    metric.name: metric
    for metric in (
        _metric("sdr", "dB", None, "SDR", bss_eval.sdr),
        _metric("sdri", "dB", None, "SDRi", bss_eval.sdr_improvement),
        _metric("sir", "dB", None, "SIR", bss_eval.sir),
        _metric("sar", "dB", None, "SAR", bss_eval.sar),
        _metric("pesq_nb", "MOS", 8000, "PESQ-NB", quality.pesq_nb),
        _metric("pesq_wb", "MOS", 16000, "PESQ-WB", quality.pesq_wb),
        _metric("stoi", "", None, "STOI", quality.stoi),
        _metric("estoi", "", None, "ESTOI", quality.estoi),
        _metric("dnsmos_ovrl", "MOS", 16000, "DNSMOS OVRL", dnsmos.overall),
        _metric("dnsmos_sig", "MOS", 16000, "DNSMOS SIG", dnsmos.signal),
        _metric("dnsmos_bak", "MOS", 16000, "DNSMOS BAK", dnsmos.background),
        _metric("speaker_similarity", "", speaker.SAMPLE_RATE, "SpkSim", speaker.similarity),
    )
}


def chosen(names: Sequence[str], sample_rate: int, encoder: Path | None = None) -> list[PerceptualMetric]:
    """Look metrics up by name, and check that what they need is there before hours of work.

    Args:
        sample_rate: that figures are computed at, in Hz.
        encoder: an ONNX file for the speaker similarity; None: resemblyzer's.

    Raises:
        UsageError: there is no such metric, it needs a higher rate, or a library of the extra is missing.
    """
    for name in names:
        if name not in PERCEPTUAL:
            raise UsageError(f"--metrics {name}: unknown; known: {', '.join(PERCEPTUAL)}")
    if encoder is not None and "speaker_similarity" not in names:
        raise UsageError(f"--speaker-encoder {encoder}: no speaker_similarity is asked for; add it to --metrics")
    metrics = [PERCEPTUAL[name] for name in dict.fromkeys(names)]
    for metric in metrics:
        if metric.sample_rate and metric.sample_rate > sample_rate:
            raise UsageError(
                f"--metrics {metric.name}: is defined at {metric.sample_rate} Hz, and there are only {sample_rate} Hz; "
                "leave it out, or take a model and recordings of that rate"
            )
        # A second of noise: any metric can be had of it.
        noise = np.float32(0.1) * np.random.default_rng(0).standard_normal(sample_rate, np.float32)
        _measure(metric, Signals(noise, noise, noise, (), sample_rate, encoder))
    return metrics


def measure_perceptual(metrics: Sequence[PerceptualMetric], signals: Signals) -> tuple[dict[str, float], list[str]]:
    """Return the figures of a pair by name, those that are defined, and notes about them."""
    measured = {metric.name: _measure(metric, signals) for metric in metrics}
    notes = [f"{name}: {figure.note}" for name, figure in measured.items() if figure.note]
    return {name: figure.value for name, figure in measured.items() if figure.value is not None}, notes


def _measure(metric: PerceptualMetric, signals: Signals) -> Measured:
    if not signals.target.any():
        return Measured(None, "the target is silent")
    return metric.measure(at_rate(signals, metric.sample_rate or signals.sample_rate))
