"""Causes in the corpora: what is silent, clipped, or below the model's rate."""

import numpy as np

from hifitse.audio.cache import DecodedRecordings
from hifitse.audio.files import Samples, read_audio
from hifitse.audio.recording import Recording
from hifitse.errors import DataError
from hifitse.evaluation.diagnosis.evidence import Evidence, Finding
from hifitse.mixing.batch import step_indices
from hifitse.mixing.curriculum import settings_at
from hifitse.mixing.loader import TRAIN_PURPOSE
from hifitse.mixing.rendering import render_index
from hifitse.seeding import order_by_hash

_NUM_SCENES, _NUM_RECORDINGS = 24, 60
_SECONDS = 10.0
# Shares of draws and of recordings from which the corpus is called broken.
_SILENT_RATE, _CLIPPED_RATE = 0.3, 0.2
# So many equal samples in a row at the peak, and so many there in all, are no waveform's own top.
_NUM_IN_A_ROW, _NUM_AT_PEAK, _LEAST_PEAK = 3, 10, 0.1


def silent_crops(evidence: Evidence) -> Finding | None:
    """Many crops of speech are silent, and had to be drawn again."""
    config, corpus = evidence.config, evidence.corpus
    if corpus is None:
        return None
    remedies = (
        "data.exclude for silent recordings",
        f"a lower mixing.silence_db ({config.mixing.silence_db:g} now) where the recordings are only quiet",
    )
    settings, files = settings_at(config, evidence.newest.step), DecodedRecordings(config.data.cache_megabytes)
    first = step_indices(evidence.newest.step, config.train.batch_size).start
    num_silent = num_voices = 0
    try:
        for index in range(first, first + _NUM_SCENES):
            scene, _ = render_index(
                config.seed, TRAIN_PURPOSE, index, settings, corpus.train, config.audio, config.mixing, files
            )
            num_silent += sum(scene.attempt)
            num_voices += len(scene.attempt)
    except DataError as error:
        return Finding("silent_crops", "the corpus cannot be mixed", (str(error),), remedies)
    if num_silent < _SILENT_RATE * (num_silent + num_voices):
        return None
    return Finding(
        "silent_crops",
        "much of the speech is silent",
        (
            f"{num_silent} of {num_silent + num_voices} voices drawn for {_NUM_SCENES} training scenes are above "
            f"{config.mixing.silence_db:g} dB for less than {config.mixing.min_target_seconds:g} s of their crop",
        ),
        remedies,
    )


def clipped_recordings(evidence: Evidence) -> Finding | None:
    """Many recordings of speech are clipped: the top of the wave is cut off."""
    if evidence.corpus is None:
        return None
    recordings = {r.name: r for speaker in evidence.corpus.train.speakers for r in speaker.recordings}
    names = order_by_hash(0, "diagnosis", recordings)[:_NUM_RECORDINGS]
    clipped = [name for name in names if _is_clipped(recordings[name])]
    if len(clipped) < _CLIPPED_RATE * len(names):
        return None
    return Finding(
        "clipped_recordings",
        "much of the speech is clipped",
        (f"{len(clipped)} of {len(names)} recordings touch a ceiling, {', '.join(clipped[:3])} among them",),
        ("data.exclude for them, or recordings of another source in data.speech",),
    )


def below_rate(evidence: Evidence) -> Finding | None:
    """Noises or impulse responses lack the upper part of the model's band."""
    if evidence.corpus is None or not evidence.corpus.warnings:
        return None
    return Finding(
        "data_below_rate",
        "noises or impulse responses are below the model's rate",
        tuple(evidence.corpus.warnings),
        (f"data.noise and data.rir of {evidence.config.audio.sample_rate / 1000:g} kHz, or data.simulated_rooms",),
    )


def _is_clipped(recording: Recording) -> bool:
    rate = recording.sample_rate
    try:
        samples = read_audio(recording.path, rate, 0.0, round(_SECONDS * rate), channel=recording.channel)
    except DataError:
        # It ends a training that draws it, with a message of its own.
        return False
    return any(_has_flat_top(part) for part in (samples, -samples))


def _has_flat_top(samples: Samples) -> bool:
    at_peak = samples == samples.max(initial=0.0)
    if samples.max(initial=0.0) < _LEAST_PEAK or at_peak.sum() < _NUM_AT_PEAK:
        return False
    return bool(np.convolve(at_peak, np.ones(_NUM_IN_A_ROW)).max() >= _NUM_IN_A_ROW)
