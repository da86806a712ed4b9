"""The waveforms of one pair, and what a metric says of them."""

import importlib
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from hifitse.audio.files import Samples, resample
from hifitse.errors import UsageError


@dataclass(frozen=True, eq=False)
class Signals:
    """The waveforms of one pair whose target is present, each (L,), all at one rate and of one length."""

    estimate: Samples
    target: Samples
    mixture: Samples
    interferers: tuple[Samples, ...]
    """What else is in the mixture, where it is known."""
    sample_rate: int
    """In Hz."""
    encoder: Path | None = None
    """An ONNX file for the speaker similarity; None: resemblyzer's."""


@lru_cache(maxsize=4)
def at_rate(signals: Signals, sample_rate: int) -> Signals:
    """Return signals with estimate and target at another rate, in Hz."""
    if sample_rate == signals.sample_rate:
        return signals
    estimate, target = (resample(part, signals.sample_rate, sample_rate) for part in (signals.estimate, signals.target))
    return replace(signals, estimate=estimate, target=target, sample_rate=sample_rate)


class Measured(NamedTuple):
    """A figure, and why it is no ordinary one."""

    value: float | None
    """None where the metric is not defined."""
    note: str = ""


def library(name: str) -> Any:
    """Return a module of the extra.

    Raises:
        UsageError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        raise UsageError(missing(name)) from None


def missing(package: str) -> str:
    """Return that a package of the extra is missing, and the remedy."""
    return f"{package} is not installed; pip install 'hifitse[metrics]'"
