"""From a scene to its waveforms: read, put in rooms, set the levels, add up.

Bitwise the same in any process: single-threaded NumPy and SciPy only, energies summed without BLAS.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy import fft

from hifitse.audio.cache import DecodedRecordings
from hifitse.audio.files import Samples
from hifitse.audio.recording import Recording
from hifitse.config.data import MixingConfig
from hifitse.config.schema import AudioConfig
from hifitse.corpus.corpus import Pool
from hifitse.errors import DataError
from hifitse.mixing.curriculum import SceneSettings
from hifitse.mixing.scenes import Noise, Reference, Scene, Voice, draw_scene
from hifitse.seeding import generator

# Attempts are cheap and days of training are not: even a corpus of mostly silence gets its scenes.
_MOST_ATTEMPTS = 200
_FRAME_SECONDS = 0.02
_RIR_SECONDS = 2.0
# What a measured response holds before its loudest peak: the direct sound, where a reflection is louder.
_BEFORE_PEAK_SECONDS = 0.005
# A crop that is this far below silence_db over the segment holds no sound worth amplifying.
_BELOW_SILENCE_DB = 20.0
# Generated noise is flat below this, or brown noise would be all rumble that nobody hears.
_LOWEST_NOISE_HZ = 20.0

_NOTHING_KEPT = DecodedRecordings(0)


class InaudibleError(DataError):
    """The crop of the target or of its reference is too silent; the scene has to be drawn again."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """The waveforms of a scene, float32 mono, full scale 1."""

    mixture: Samples
    """(mixture_samples,)"""
    reference: Samples
    """(reference_samples,); zeros: no reference."""
    target: Samples
    """(mixture_samples,): the target's part of the mixture, reverberation included; zeros in TA scenes."""


def render_index(
    seed: int,
    purpose: str,
    index: int,
    settings: SceneSettings,
    pool: Pool,
    audio: AudioConfig,
    mixing: MixingConfig,
    files: DecodedRecordings = _NOTHING_KEPT,
) -> tuple[Scene, Rendered]:
    """Draw and render scene `index`, attempt 0, 1, ... until target and reference are audible.

    Raises:
        DataError: no attempt gave an audible target, or a file cannot be read.
    """
    for attempt in range(_MOST_ATTEMPTS):
        scene = draw_scene(seed, purpose, index, settings, pool, audio, attempt)
        try:
            return scene, render(scene, audio, mixing, files)
        except InaudibleError as error:
            last = error
    raise DataError(f"{last}; so were {_MOST_ATTEMPTS - 1} other draws")


def render(
    scene: Scene, audio: AudioConfig, mixing: MixingConfig, files: DecodedRecordings = _NOTHING_KEPT
) -> Rendered:
    """Render a scene.

    The target's RMS over the segment is level_db; each interferer's is sir_db below that; the energy of all
    speech over that of the noise is snr_db. Mixture and target are then scaled down together if the mixture
    peaks above peak_limit.

    Raises:
        InaudibleError: target or reference is above silence_db for less than min_target_seconds, or
            the mixture is digital silence.
        DataError: a file cannot be read.
    """
    num_samples, rate = audio.mixture_samples, audio.sample_rate
    floor = _amplitude(mixing.silence_db - _BELOW_SILENCE_DB)
    target = np.zeros(num_samples, np.float32)
    if scene.target is not None:
        target = _at_level(_audible(scene.target, num_samples, rate, mixing, files), scene.level_db, 0.0)
    reference = _reference(scene.reference, audio, mixing, files)
    mixture = target.copy()
    for interferer in scene.interferers:
        _, wet = _voice(interferer.voice, num_samples, rate, files)
        mixture += _at_level(wet, scene.level_db - interferer.sir_db, floor)
    if scene.noise is not None:
        mixture += _noise(scene.noise, mixture, rate, floor, files)
    peak = float(np.abs(mixture).max())
    if peak == 0.0:
        raise InaudibleError(f"scene {scene.index}: nothing is audible in the mixture; lower mixing.silence_db")
    if peak > mixing.peak_limit:
        gain = np.float32(mixing.peak_limit / peak)
        mixture *= gain
        target *= gain
    return Rendered(mixture, reference, target)


def _reference(reference: Reference, audio: AudioConfig, mixing: MixingConfig, files: DecodedRecordings) -> Samples:
    num_samples, rate = audio.reference_samples, audio.sample_rate
    if not reference.kept:
        return np.zeros(num_samples, np.float32)
    speech = _at_level(_audible(reference.voice, num_samples, rate, mixing, files), reference.level_db, 0.0)
    if reference.noise is not None:
        floor = _amplitude(mixing.silence_db - _BELOW_SILENCE_DB)
        speech += _noise(reference.noise, speech, rate, floor, files)
    return speech


def _audible(voice: Voice, num_samples: int, rate: int, mixing: MixingConfig, files: DecodedRecordings) -> Samples:
    """Return the voice as it is heard, after counting the 20 ms frames of the dry crop above silence_db."""
    dry, wet = _voice(voice, num_samples, rate, files)
    length = round(_FRAME_SECONDS * rate)
    frames = dry[: num_samples // length * length].reshape(-1, length)
    powers = np.square(frames, dtype=np.float64).mean(axis=1)
    seconds = _FRAME_SECONDS * int((powers > _amplitude(mixing.silence_db) ** 2).sum())
    if seconds < mixing.min_target_seconds:
        raise InaudibleError(
            f"{voice.recording.path}: speaker {voice.speaker} is above {mixing.silence_db:g} dB for {seconds:.2f} s of "
            f"a crop, and {mixing.min_target_seconds:g} s are needed; lower mixing.silence_db or "
            "mixing.min_target_seconds, or exclude silent files"
        )
    return wet


def _voice(voice: Voice, num_samples: int, rate: int, files: DecodedRecordings) -> tuple[Samples, Samples]:
    """Return the segment dry, and as it is heard: with the tail of what was said before it."""
    if voice.rir is None:
        dry = _crop(voice, 0, num_samples, rate, files)
        return dry, dry
    response, lead = _impulse_response(voice.rir, rate, files)
    before = len(response) - 1 - lead
    dry = _crop(voice, before, num_samples + len(response) - 1, rate, files)
    # Circular is enough: what wraps around falls on the samples that are cut off.
    size = fft.next_fast_len(len(dry), real=True)
    spectrum = fft.rfft(dry, size)
    spectrum *= fft.rfft(response, size)
    wet = fft.irfft(spectrum, size, overwrite_x=True)[len(response) - 1 : len(dry)]
    return dry[before : before + num_samples], wet


def _crop(voice: Voice, before: int, num_samples: int, rate: int, files: DecodedRecordings) -> Samples:
    """Return samples from `before` samples ahead of the segment on, with zeros where there is no recording."""
    begin = round(voice.start_seconds / voice.speed * rate) - round(voice.offset_seconds * rate) - before
    silence = min(max(0, -begin), num_samples)
    start_seconds = max(0, begin) * voice.speed / rate
    crop = np.zeros(num_samples, np.float32)
    read = files.read(voice.recording, rate, start_seconds, num_samples - silence, voice.speed)
    crop[silence : silence + len(read)] = read
    return crop


def _impulse_response(rir: Recording, rate: int, files: DecodedRecordings) -> tuple[Samples, int]:
    """Return a response (n,) of L2 norm 1, and the index of its loudest peak, which is delay 0."""
    response = files.read(rir, rate, num_samples=round(2 * _RIR_SECONDS * rate))
    peak = int(np.abs(response).argmax())
    lead = min(peak, round(_BEFORE_PEAK_SECONDS * rate))
    response = response[peak - lead :][: round(_RIR_SECONDS * rate)]
    norm = math.sqrt(float(np.square(response, dtype=np.float64).sum()))
    if norm == 0.0:
        raise DataError(f"{rir.path}: this impulse response is digital silence; remove it")
    return response / np.float32(norm), lead


def _noise(noise: Noise, speech: Samples, rate: int, floor: float, files: DecodedRecordings) -> Samples:
    """Return the noise, snr_db below the speech."""
    num_samples = len(speech)
    if noise.recording is None:
        samples = _coloured(noise, num_samples, rate)
    elif noise.recording.seconds * rate >= num_samples:
        samples = np.zeros(num_samples, np.float32)
        read = files.read(noise.recording, rate, noise.start_seconds, num_samples)
        samples[: len(read)] = read
    else:
        whole = files.read(noise.recording, rate)
        samples = np.resize(np.roll(whole, -round(noise.start_seconds * rate)), num_samples)
    speech_rms = _rms(speech)
    if speech_rms == 0.0:
        # Speech that is all silence has no level to follow: the noise keeps its own.
        return samples
    return _at_level(samples, 20 * math.log10(speech_rms) - noise.snr_db, floor)


def _coloured(noise: Noise, num_samples: int, rate: int) -> Samples:
    """Return Gaussian noise whose power falls as 1 / f^exponent: 0 white, 1 pink, 2 brown."""
    white = generator(noise.seed, "coloured noise").standard_normal(num_samples, np.float32)
    frequencies = np.maximum(fft.rfftfreq(num_samples, 1 / rate), _LOWEST_NOISE_HZ)
    shape = (frequencies / _LOWEST_NOISE_HZ) ** (-noise.exponent / 2)
    coloured: Samples = fft.irfft(fft.rfft(white) * shape.astype(np.float32), num_samples)
    return coloured


def _at_level(samples: Samples, level_db: float, floor: float) -> Samples:
    """Return the samples at an RMS of level_db; at zero if their RMS is not above the floor."""
    level = _rms(samples)
    if level <= floor:
        return np.zeros_like(samples)
    return samples * np.float32(_amplitude(level_db) / level)


def _amplitude(level_db: float) -> float:
    return math.pow(10.0, level_db / 20)


def _rms(samples: Samples) -> float:
    """Return the root mean square, in float64 and without BLAS, whose threads would change the last bits."""
    return math.sqrt(float(np.square(samples, dtype=np.float64).mean()))
