"""SDR, SIR and SAR as BSS Eval 3 computes them: a filter of 512 taps on the target is allowed, and is no distortion.

E. Vincent, R. Gribonval, C. Févotte, "Performance measurement in blind audio source separation", IEEE TASLP 14(4),
2006.
"""

from functools import lru_cache

import numpy as np
import torch

from hifitse.perceptual.signals import Measured, Signals, library

_LIMIT_DB = -10 * float(np.log10(np.finfo(np.float64).eps))
"""The formula says infinity, or minus infinity for a silent estimate; SI-SDR ends at -156.5 dB, too."""


def sdr(signals: Signals) -> Measured:
    return _noted(_of_estimate(signals)[0])


def sdr_improvement(signals: Signals) -> Measured:
    value, note = sdr(signals)
    assert value is not None
    return Measured(value - _evaluate(signals.target, signals.mixture, ())[0], note)


def sir(signals: Signals) -> Measured:
    if not signals.interferers:
        return Measured(None)
    return _noted(_of_estimate(signals)[1])


def sar(signals: Signals) -> Measured:
    if not signals.interferers:
        return Measured(None)
    return _noted(_of_estimate(signals)[2])


def _noted(value: float) -> Measured:
    if np.isnan(value) or value < -_LIMIT_DB:
        return Measured(-_LIMIT_DB, "the estimate is silent: the lowest value")
    return Measured(min(value, _LIMIT_DB))


@lru_cache(maxsize=1)
def _of_estimate(signals: Signals) -> tuple[float, float, float]:
    return _evaluate(signals.target, signals.estimate, signals.interferers)


def _evaluate(
    target: np.ndarray, estimate: np.ndarray, interferers: tuple[np.ndarray, ...]
) -> tuple[float, float, float]:
    """Return SDR, SIR and SAR in dB."""
    sources = torch.from_numpy(np.stack([target, *interferers])).double()
    # There are to be as many estimates as sources, and the first one is what is asked for.
    estimates = torch.from_numpy(estimate).double().expand(len(sources), -1)
    figures = library("fast_bss_eval").bss_eval_sources(sources, estimates, compute_permutation=False)
    value, to_interference, to_artifacts = (float(figure[0]) for figure in figures)
    return value, to_interference, to_artifacts
