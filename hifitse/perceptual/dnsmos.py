"""DNSMOS P.835: C. K. A. Reddy, V. Gopal, R. Cutler, "DNSMOS P.835", ICASSP 2022. It hears the estimate alone.

The network lies in the wheel of speechmos; its Python, which needs more than the network does, is not imported.
"""

import importlib.util
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from hifitse.errors import UsageError
from hifitse.perceptual.signals import Measured, Signals, library, missing

_WINDOW_SECONDS = 9.01
# From the network's outputs to the scale of the listening tests; coefficients of the authors, highest power first.
_TO_SCORE = {
    "sig": (-0.08397278, 1.22083953, 0.0052439),
    "bak": (-0.13166888, 1.60915514, -0.39604546),
    "ovrl": (-0.06766283, 1.11546468, 0.04602535),
}


def signal(signals: Signals) -> Measured:
    return Measured(_scores(signals)["sig"])


def background(signals: Signals) -> Measured:
    return Measured(_scores(signals)["bak"])


def overall(signals: Signals) -> Measured:
    return Measured(_scores(signals)["ovrl"])


@lru_cache(maxsize=1)
def _scores(signals: Signals) -> dict[str, float]:
    rate = signals.sample_rate
    size = int(_WINDOW_SECONDS * rate)
    # As a file of integers would hold it.
    samples = signals.estimate.clip(-1, 1).astype(np.float32)
    while len(samples) < size:
        samples = np.concatenate([samples, samples])
    num_windows = int(len(samples) // rate - _WINDOW_SECONDS) + 1
    # One a second; those that the authors' program rounds to one sample less it leaves out, and so do their figures.
    ends = [int((second + _WINDOW_SECONDS) * rate) for second in range(num_windows)]
    windows = [samples[end - size : end] for second, end in enumerate(ends) if end - size == second * rate]
    raw = np.array([session().run(None, {"input_1": window[None]})[0][0] for window in windows])
    return {
        name: float(np.polyval(coefficients, raw[:, column]).mean())
        for column, (name, coefficients) in enumerate(_TO_SCORE.items())
    }


@cache
def session() -> Any:
    """Load the network.

    Raises:
        UsageError: speechmos or onnxruntime is not installed.
    """
    runtime = library("onnxruntime")
    found = importlib.util.find_spec("speechmos")
    if found is None or found.origin is None:
        raise UsageError(missing("speechmos"))
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    path = Path(found.origin).parent / "dnsmos_models" / "sig_bak_ovr.onnx"
    return runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
