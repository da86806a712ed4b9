"""One voice of a scene: read, checked for being audible, put into its room, and what of that is the target."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import fft

from hifitse.audio.cache import DecodedRecordings
from hifitse.audio.fades import fade_in, fade_out
from hifitse.audio.files import Samples
from hifitse.audio.levels import FRAME_SECONDS, amplitude, frame_powers
from hifitse.audio.recording import Recording
from hifitse.config.data import MixingConfig
from hifitse.errors import DataError
from hifitse.mixing.scenes import Voice

TargetKind = Literal["reverberant", "early", "dry"]

_RIR_SECONDS = 2.0
_RIR_FADE_SECONDS = 0.05
# What a measured response holds before its loudest peak: the direct sound, where a reflection is louder.
_BEFORE_PEAK_SECONDS = 0.005
_FADE_IN_SECONDS = 0.001
# What a processor's vector registers hold in single precision, and SciPy transforms at once.
_ROWS_AT_ONCE = 4
# Early reflections support the direct sound up to there (the early energy of C50, ISO 3382-1).
_EARLY_SECONDS = 0.05
# A direct sound is as long as what played and recorded it rings.
_DIRECT_SECONDS = 0.0025


class InaudibleError(DataError):
    """A voice is too silent in its segment, and has to be drawn again."""

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.number = number
        """Of the voice: 0 for target and reference, then the interferers."""


@dataclass(frozen=True, slots=True)
class Crop:
    """The samples of a voice, dry, with as much before and after its segment as its room needs."""

    samples: Samples
    num_samples: int
    """Length of the segment."""
    before: int
    response: Samples | None
    """Of its room, (n,) of L2 norm 1."""
    lead: int
    """Index of the response's loudest peak, the direct sound, which is delay 0."""

    @property
    def dry(self) -> Samples:
        return self.samples[self.before : self.before + self.num_samples]


def read_voice(voice: Voice, num_samples: int, rate: int, files: DecodedRecordings) -> Crop:
    """Read what a segment needs of a recording and its room.

    Raises:
        DataError: a file cannot be read, or the impulse response is digital silence.
    """
    if voice.rir is None:
        return Crop(_samples(voice, 0, num_samples, rate, files), num_samples, 0, None, 0)
    response, lead = _response(voice.rir, rate, files)
    before = len(response) - 1 - lead
    samples = _samples(voice, before, num_samples + len(response) - 1, rate, files)
    return Crop(samples, num_samples, before, response, lead)


def require_audible(crop: Crop, voice: Voice, number: int, rate: int, mixing: MixingConfig) -> None:
    """Count the 20 ms frames of the dry segment above silence_db.

    Raises:
        InaudibleError: they last less than min_target_seconds.
    """
    num_audible = int((frame_powers(crop.dry, rate) > amplitude(mixing.silence_db) ** 2).sum())
    seconds = FRAME_SECONDS * num_audible
    if seconds < mixing.min_target_seconds:
        raise InaudibleError(
            f"{voice.recording.path}: speaker {voice.speaker} is above {mixing.silence_db:g} dB for {seconds:.2f} s of "
            f"a crop, and {mixing.min_target_seconds:g} s are needed; lower mixing.silence_db or "
            "mixing.min_target_seconds, or exclude silent files",
            number,
        )


def in_rooms(crops: Sequence[Crop]) -> list[Samples]:
    """Return the segments as they are heard, (num_samples,) each: with the tail of what was said before them."""
    convolved = iter(_convolved([(crop.samples, crop.response) for crop in crops if crop.response is not None]))
    return [crop.dry if crop.response is None else next(convolved) for crop in crops]


def target_part(crop: Crop, heard: Samples, kind: TargetKind, rate: int) -> Samples:
    """Return what the model is to return of a voice that is heard (num_samples,), at the level that it has in there.

    All kinds have the direct sound at the same place, where the dry voice is.
    """
    if crop.response is None or kind == "reverberant":
        return heard
    begin, end = 0, crop.lead + round(_EARLY_SECONDS * rate)
    if kind == "dry":
        reach = round(_DIRECT_SECONDS * rate)
        begin, end = max(0, crop.lead - reach), crop.lead + reach
    part = np.zeros_like(crop.response)
    part[begin : end + 1] = crop.response[begin : end + 1]
    (early,) = _convolved([(crop.samples, part)])
    return early if kind == "early" else crop.dry * np.float32(_projection(early, crop.dry))


def _projection(signal: Samples, onto: Samples) -> float:
    """Return the gain at which `onto` is nearest to the signal; without BLAS, whose threads change last bits."""
    energy = float(np.einsum("i,i->", onto, onto, dtype=np.float64))
    return float(np.einsum("i,i->", signal, onto, dtype=np.float64)) / energy if energy else 0.0


def _convolved(pairs: Sequence[tuple[Samples, Samples]]) -> list[Samples]:
    """Return signals (n,) convolved with their responses (m,), those n - m + 1 samples each that depend on no others.

    All at once: several rows of single precision are transformed side by side in little more time than one of them.
    """
    if not pairs:
        return []
    # Circular is enough: what wraps around falls on the samples that are cut off.
    size = fft.next_fast_len(max(len(signal) for signal, _ in pairs), real=True)
    rows = np.zeros((_whole_groups(2 * len(pairs)), size), np.float32)
    for number, (signal, response) in enumerate(pairs):
        rows[number, : len(signal)] = signal
        rows[len(pairs) + number, : len(response)] = response
    spectra = fft.rfft(rows, axis=-1, overwrite_x=True)
    spectra[: len(pairs)] *= spectra[len(pairs) : 2 * len(pairs)]
    convolved = fft.irfft(spectra[: _whole_groups(len(pairs))], size, axis=-1, overwrite_x=True)
    return [row[len(response) - 1 : len(signal)] for row, (signal, response) in zip(convolved, pairs, strict=False)]


def _whole_groups(num_rows: int) -> int:
    return -(-num_rows // _ROWS_AT_ONCE) * _ROWS_AT_ONCE


def _samples(voice: Voice, before: int, num_samples: int, rate: int, files: DecodedRecordings) -> Samples:
    """Return samples from `before` samples ahead of the segment on, with zeros where there is no recording."""
    begin = round(voice.start_seconds / voice.speed * rate) - round(voice.offset_seconds * rate) - before
    silence = min(max(0, -begin), num_samples)
    start_seconds = max(0, begin) * voice.speed / rate
    samples = np.zeros(num_samples, np.float32)
    read = files.read(voice.recording, rate, start_seconds, num_samples - silence, voice.speed)
    samples[silence : silence + len(read)] = read
    return samples


def _response(rir: Recording, rate: int, files: DecodedRecordings) -> tuple[Samples, int]:
    """Return an impulse response of L2 norm 1 and at most 2 s, and the index of its loudest peak."""
    response = files.read(rir, rate)
    peak = int(np.abs(response).argmax())
    lead = min(peak, round(_BEFORE_PEAK_SECONDS * rate))
    if peak > lead:
        response = fade_in(response[peak - lead :], round(_FADE_IN_SECONDS * rate))
    if len(response) > (longest := round(_RIR_SECONDS * rate)):
        response = fade_out(response[:longest], round(_RIR_FADE_SECONDS * rate))
    norm = math.sqrt(float(np.square(response, dtype=np.float64).sum()))
    if norm == 0.0:
        raise DataError(f"{rir.path}: this impulse response is digital silence; remove it")
    return response / np.float32(norm), lead
