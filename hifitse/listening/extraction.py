"""An extraction as the page shows it: the voice, and words about it."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from hifitse.audio.decoding import decoded
from hifitse.audio.files import read_audio
from hifitse.checkpoint.export import find_model, load_trained
from hifitse.extraction.files import Outcome, Settings, extract_file
from hifitse.extraction.jobs import Job, check_jobs
from hifitse.inference import Extractor
from hifitse.tracking.scenes import spectrograms

PICTURED_SECONDS = 60
"""So much of the beginning is pictured."""


@dataclass(frozen=True)
class Heard:
    """What came out."""

    voice: Path
    """As `hifitse extract` writes it."""
    words: str
    picture: NDArray[np.uint8]
    """(H, W), grey: the spectrograms of mixture and voice, the first above, on one scale."""


def hear(
    source: str,
    mixture: Path,
    reference: Path,
    folder: Path,
    device: torch.device,
    progress: Callable[[float], None],
) -> Heard:
    """Extract the reference's voice from a mixture into a new file below a folder.

    The model is read each time: a training that goes on may replace its file.

    Args:
        source: what `load_trained` takes.
        progress: called with the share that is done.

    Raises:
        HifitseError: the model or a recording cannot be used.
    """
    job = Job(mixture, (reference,), Path(tempfile.mkdtemp(dir=folder)) / "voice.wav")
    seconds, done = check_jobs([job], None, None), 0.0
    extractor = Extractor(load_trained(find_model(source)), device)

    def advance(more: float) -> None:
        nonlocal done
        done += more
        progress(min(done / seconds, 1.0) if seconds else 0.0)

    outcome = Outcome(job, extract_file(extractor, job, Settings(), advance=advance))
    rate = extractor.sample_rate
    beginnings = [
        read_audio(path, rate, num_samples=PICTURED_SECONDS * rate)
        for path in (decoded(mixture, job.output.parent), job.output)
    ]
    return Heard(job.output, _words(outcome, extractor.step), spectrograms(*beginnings))


def _words(outcome: Outcome, step: int) -> str:
    presence = outcome.report["presence_db"]
    verdict = "The voice seems absent, or speaks little" if outcome.seems_absent else "The voice seems present"
    level = f"{abs(presence):.1f} dB {'below' if presence < 0 else 'above'} the mixture"
    return f"**{verdict}**: the output is {level}. Extracted by the model of step {step}."
