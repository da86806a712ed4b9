"""From a scene to its waveforms: read, put in rooms, set the levels, add up.

Bitwise the same in any process: single-threaded NumPy and SciPy only, energies summed without BLAS.
"""

from dataclasses import dataclass

import numpy as np
from scipy import fft

from hifitse.audio.cache import DecodedRecordings
from hifitse.audio.fades import loop
from hifitse.audio.files import Samples
from hifitse.audio.levels import active_level, amplitude, rms
from hifitse.config.data import MixingConfig
from hifitse.config.schema import AudioConfig
from hifitse.corpus.corpus import Pool
from hifitse.errors import DataError
from hifitse.mixing.curriculum import SceneSettings
from hifitse.mixing.scenes import Noise, Scene, Voice, draw_scene
from hifitse.mixing.voices import Crop, InaudibleError, in_rooms, read_voice, require_audible, target_part
from hifitse.seeding import generator

RECIPE_VERSION = 2
"""What a scene sounds like changes with this, and validation results before and after do not compare."""
# Attempts are cheap and days of training are not: even a corpus of mostly silence gets its scenes.
_MOST_ATTEMPTS = 200
# A noise that is this far below silence_db over the segment is no sound worth amplifying.
_BELOW_SILENCE_DB = 20.0
# Generated noise is flat below this, or brown noise would be all rumble that nobody hears.
_LOWEST_NOISE_HZ = 20.0
_LOOP_FADE_SECONDS = 0.05

_NOTHING_KEPT = DecodedRecordings(0)


@dataclass(frozen=True, slots=True)
class Rendered:
    """The waveforms of a scene, float32 mono, full scale 1."""

    mixture: Samples
    """(mixture_samples,)"""
    reference: Samples
    """(reference_samples,); zeros: no reference."""
    target: Samples
    """(mixture_samples,): what mixing.target asks for of the target's part of the mixture; zeros in TA scenes."""
    voices: tuple[Samples, ...]
    """(mixture_samples,) each: the target's part of the mixture, if it is present, and then each interferer's."""
    noise: Samples | None
    """(mixture_samples,): the noise's part of the mixture."""
    gain: float
    """By what all but the reference were multiplied to keep the peak limit; mostly 1."""


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
    """Draw and render scene `index`; what is not audible, target with reference or an interferer, is drawn again.

    Raises:
        DataError: a voice was not audible in any of 200 draws, or a file cannot be read.
    """
    attempt = [0] * (2 + settings.num_interferers[1])
    read: dict[Voice, Crop] = {}
    while True:
        scene = draw_scene(seed, purpose, index, settings, pool, audio, attempt)
        try:
            return scene, render(scene, audio, mixing, files, read)
        except InaudibleError as error:
            attempt[error.number] += 1
            if attempt[error.number] == _MOST_ATTEMPTS:
                raise DataError(f"{error}; so were {_MOST_ATTEMPTS - 1} other draws") from None


def render(
    scene: Scene,
    audio: AudioConfig,
    mixing: MixingConfig,
    files: DecodedRecordings = _NOTHING_KEPT,
    read: dict[Voice, Crop] | None = None,
) -> Rendered:
    """Render a scene.

    The active speech level of the target is level_db; that of each interferer is sir_db below; that of all speech
    together is snr_db over the RMS of the noise. All are then scaled down together if the mixture peaks above
    peak_limit.

    Args:
        read: audible voices that were read before, and where those that are read now are kept.

    Raises:
        InaudibleError: a voice is above silence_db for less than min_target_seconds, or the mixture is digital silence.
        DataError: a file cannot be read.
    """
    read = {} if read is None else read
    rate = audio.sample_rate

    def audible(voice: Voice, number: int, num_samples: int) -> Crop:
        if voice not in read:
            crop = read_voice(voice, num_samples, rate, files)
            require_audible(crop, voice, number, rate, mixing)
            read[voice] = crop
        return read[voice]

    # All voices are read before any of them is put in its room, which takes most of the time.
    crops = [audible(scene.target, 0, audio.mixture_samples)] if scene.target else []
    reference_crop = audible(scene.reference.voice, 0, audio.reference_samples) if scene.reference.kept else None
    levels = [scene.level_db] if scene.target else []
    for number, interferer in enumerate(scene.interferers, start=1):
        crops.append(audible(interferer.voice, number, audio.mixture_samples))
        levels.append(scene.level_db - interferer.sir_db)

    heard = in_rooms([*crops, *([reference_crop] if reference_crop else [])])
    reference_speech = heard.pop() if reference_crop else None
    gains = [_gain(voice, level_db, rate) for voice, level_db in zip(heard, levels, strict=True)]
    voices = [voice * gain for voice, gain in zip(heard, gains, strict=True)]
    target = np.zeros(audio.mixture_samples, np.float32)
    if scene.target:
        target = target_part(crops[0], heard[0], mixing.target, rate) * gains[0]
    mixture, noise = np.add.reduce(voices), None
    if scene.noise is not None:
        noise = _noise(scene.noise, mixture, audio, mixing, files)
        mixture = mixture + noise
    reference = _reference(scene, reference_speech, audio, mixing, files)

    peak = float(np.abs(mixture).max())
    if peak == 0.0:
        what = f"scene {scene.index}: nothing is audible in the mixture; lower mixing.silence_db"
        raise InaudibleError(what, len(scene.interferers))
    if peak <= mixing.peak_limit:
        return Rendered(mixture, reference, target, tuple(voices), noise, gain=1.0)
    gain = np.float32(mixing.peak_limit / peak)
    voices = [voice * gain for voice in voices]
    noise = None if noise is None else noise * gain
    return Rendered(mixture * gain, reference, target * gain, tuple(voices), noise, float(gain))


def _reference(
    scene: Scene, heard: Samples | None, audio: AudioConfig, mixing: MixingConfig, files: DecodedRecordings
) -> Samples:
    if heard is None:
        return np.zeros(audio.reference_samples, np.float32)
    speech = heard * _gain(heard, scene.reference.level_db, audio.sample_rate)
    if scene.reference.noise is not None:
        speech = speech + _noise(scene.reference.noise, speech, audio, mixing, files)
    return speech


def _noise(
    noise: Noise, speech: Samples, audio: AudioConfig, mixing: MixingConfig, files: DecodedRecordings
) -> Samples:
    """Return the noise, its RMS snr_db below the active level of the speech; digital silence stays what it is."""
    samples = _read_noise(noise, len(speech), audio.sample_rate, files)
    speech_level, level = active_level(speech, audio.sample_rate), rms(samples)
    if speech_level == 0.0:
        # Speech that is all silence has no level to follow: the noise keeps its own.
        return samples
    if level <= amplitude(mixing.silence_db - _BELOW_SILENCE_DB):
        return np.zeros_like(samples)
    return samples * np.float32(speech_level / amplitude(noise.snr_db) / level)


def _read_noise(noise: Noise, num_samples: int, rate: int, files: DecodedRecordings) -> Samples:
    """Return the noise (num_samples,) at the level of its recording.

    Raises:
        DataError: its file cannot be read.
    """
    if noise.recording is None:
        return _coloured(noise, num_samples, rate)
    if noise.recording.seconds * rate >= num_samples:
        samples = np.zeros(num_samples, np.float32)
        read = files.read(noise.recording, rate, noise.start_seconds, num_samples)
        samples[: len(read)] = read
        return samples
    whole = files.read(noise.recording, rate)
    return loop(whole, num_samples, round(noise.start_seconds * rate), round(_LOOP_FADE_SECONDS * rate))


def _coloured(noise: Noise, num_samples: int, rate: int) -> Samples:
    """Return Gaussian noise whose power falls as 1 / f^exponent: 0 white, 1 pink, 2 brown."""
    white = generator(noise.seed, "coloured noise").standard_normal(num_samples, np.float32)
    frequencies = np.maximum(fft.rfftfreq(num_samples, 1 / rate), _LOWEST_NOISE_HZ)
    shape = (frequencies / _LOWEST_NOISE_HZ) ** (-noise.exponent / 2)
    coloured: Samples = fft.irfft(fft.rfft(white) * shape.astype(np.float32), num_samples)
    return coloured


def _gain(voice: Samples, level_db: float, rate: int) -> np.float32:
    """Return the factor that brings a voice to an active speech level; of digital silence 0."""
    level = active_level(voice, rate)
    return np.float32(amplitude(level_db) / level if level else 0.0)
