"""PESQ (ITU-T P.862, P.862.1 and P.862.2) by pesq, STOI and ESTOI by pystoi."""

import math
import warnings
from typing import Literal

import numpy as np

from hifitse.perceptual.signals import Measured, Signals, library

_LOWEST_RAW_PESQ = -0.5
_PESQ_MAPPING = {"nb": (1.4945, 4.6607), "wb": (1.3669, 3.8224)}
"""Slope and offset of the mapping to a mean opinion score, in P.862.1 and P.862.2."""


def pesq_nb(signals: Signals) -> Measured:
    return _pesq(signals, "nb")


def pesq_wb(signals: Signals) -> Measured:
    return _pesq(signals, "wb")


def _pesq(signals: Signals, mode: Literal["nb", "wb"]) -> Measured:
    module = library("pesq")
    if not signals.estimate.any():
        # The library divides by its level.
        slope, offset = _PESQ_MAPPING[mode]
        lowest = 0.999 + 4 / (1 + math.exp(offset - slope * _LOWEST_RAW_PESQ))
        return Measured(lowest, "the estimate is silent: the lowest score")
    try:
        return Measured(float(module.pesq(signals.sample_rate, signals.target, signals.estimate, mode)))
    except (module.PesqError, ValueError) as error:
        text = error.args[0] if error.args else error
        return Measured(None, f"PESQ: {text.decode() if isinstance(text, bytes) else text}")


def stoi(signals: Signals) -> Measured:
    return _stoi(signals, extended=False)


def estoi(signals: Signals) -> Measured:
    return _stoi(signals, extended=True)


def _stoi(signals: Signals, extended: bool) -> Measured:
    if not signals.estimate.any():
        return Measured(0.0, "the estimate is silent: the score of no intelligibility")
    state = np.random.get_state()
    # The library adds noise at the rounding error, from the global generator.
    np.random.seed(0)
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            value = library("pystoi").stoi(signals.target, signals.estimate, signals.sample_rate, extended=extended)
    finally:
        np.random.set_state(state)
    if told:
        return Measured(None, f"STOI: {str(told[0].message).partition('.')[0]}")
    return Measured(float(value))
