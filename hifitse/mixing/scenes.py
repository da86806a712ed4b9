"""Scenes: the full recipe of one mixture, drawn without touching any audio.

A scene is a function of (seed, purpose, index, settings, pool, attempt). All draws come from one hash of
them, so neither workers nor interruptions change what is heard. Scenes are JSON-able by
`dataclasses.asdict`.
"""

from dataclasses import dataclass

import numpy as np

from hifitse.audio.recording import Recording
from hifitse.config.schema import AudioConfig
from hifitse.corpus.corpus import Pool, Speaker
from hifitse.corpus.sampling import CorpusSampler
from hifitse.mixing.curriculum import Range, SceneSettings, is_absent
from hifitse.seeding import generator


@dataclass(frozen=True, slots=True)
class Voice:
    """A stretch of one recording, at a speed, perhaps in a room."""

    speaker: str
    recording: Recording
    start_seconds: float
    """Where the crop starts, in seconds of the file."""
    offset_seconds: float
    """Where a recording shorter than the segment starts in it, in seconds; else 0."""
    speed: float
    rir: Recording | None


@dataclass(frozen=True, slots=True)
class Interferer:
    """Another speaker, sir_db below the target (or below the level the target would have had)."""

    voice: Voice
    sir_db: float


@dataclass(frozen=True, slots=True)
class Noise:
    """A stretch of a recording, looped where it is too short, or generated noise."""

    recording: Recording | None
    """None: generated, with a power spectrum of 1 / f^exponent."""
    start_seconds: float
    exponent: float
    seed: int
    """Of the generated noise."""
    snr_db: float
    """Level of the speech over it, in dB."""


@dataclass(frozen=True, slots=True)
class Reference:
    """Another recording of the target speaker, at the speed of the target."""

    voice: Voice
    level_db: float
    noise: Noise | None
    kept: bool
    """False: reference dropout, digital silence takes its place."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Who speaks, which crops, levels, rooms and noise, and the reference."""

    index: int
    attempt: int
    present: bool
    """TP; else TA, where `speaker` is known by the reference only."""
    speaker: str
    level_db: float
    """RMS of the target over the segment in dB below full scale; in TA scenes what it would have been."""
    target: Voice | None
    interferers: tuple[Interferer, ...]
    noise: Noise | None
    reference: Reference


def draw_scene(
    seed: int, purpose: str, index: int, settings: SceneSettings, pool: Pool, audio: AudioConfig, attempt: int = 0
) -> Scene:
    """Draw a scene. TP or TA follows from the index and the ratio alone; all else also from the attempt.

    Args:
        seed, purpose, index, attempt: what the scene is the hash of, e.g. ``0, "train", 17, 0``.
        settings: the mixing settings of its step.
        pool: recordings to draw from, at least one speaker more than there are interferers.
        audio: lengths of the segments.
    """
    draws = _Draws(generator(seed, purpose, index, attempt))
    present = not is_absent(index, settings.absent_ratio)
    # Every scene draws the same things in the same order, so that settings change no more than they must.
    number = draws.pick(len(pool.speakers), pool.speaker_sampler)
    speaker = pool.speakers[number]
    speed = settings.speeds[draws.index(len(settings.speeds))]
    of_target = draws.index(len(speaker.recordings))
    of_reference = (of_target + 1 + draws.index(len(speaker.recordings) - 1)) % len(speaker.recordings)
    target = _voice(draws, speaker, of_target, speed, audio.mixture_seconds, settings.rir_probability, pool)
    level_db = draws.between(settings.level_db)
    reference = _reference(draws, speaker, of_reference, speed, settings, pool, audio)
    noise = _noise(draws, settings.noise_probability, settings.snr_db, audio.mixture_seconds, settings, pool)
    interferers = tuple(
        _interferer(draws, pool.speakers[other], settings, pool, audio)
        for other in draws.others(len(pool.speakers), pool.speaker_sampler, number, settings.num_interferers)
    )
    return Scene(
        index=index,
        attempt=attempt,
        present=present,
        speaker=speaker.name,
        level_db=level_db,
        target=target if present else None,
        interferers=interferers,
        noise=noise,
        reference=reference,
    )


class _Draws:
    """Small draws from one generator; plain floats are several times faster than NumPy's methods."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._uniform = rng.random

    def between(self, bounds: Range) -> float:
        return bounds[0] + (bounds[1] - bounds[0]) * self._uniform()

    def chance(self, probability: float) -> bool:
        return self._uniform() < probability

    def index(self, count: int) -> int:
        return int(self._uniform() * count)

    def pick(self, count: int, shares: CorpusSampler | None) -> int:
        """Draw an index below `count`; one number either way, so that weights change who is heard, not how."""
        return self.index(count) if shares is None else shares.pick(self._uniform())

    def others(self, count: int, shares: CorpusSampler | None, but: int, how_many: tuple[int, int]) -> list[int]:
        """Draw a number of different indices below `count`, none of them `but`."""
        number = how_many[0] + self.index(how_many[1] - how_many[0] + 1)
        assert number < count, "a pool holds at least one speaker more than there are interferers"
        chosen: list[int] = []
        while len(chosen) < number:
            candidate = self.index(count) if shares is None else shares.pick(self._uniform(), [but, *chosen])
            if candidate != but and candidate not in chosen:
                chosen.append(candidate)
        return chosen


def _interferer(draws: _Draws, speaker: Speaker, settings: SceneSettings, pool: Pool, audio: AudioConfig) -> Interferer:
    sir_db = draws.between(settings.sir_db)
    recording = draws.index(len(speaker.recordings))
    speed = settings.speeds[draws.index(len(settings.speeds))]
    voice = _voice(draws, speaker, recording, speed, audio.mixture_seconds, settings.rir_probability, pool)
    return Interferer(voice, sir_db)


def _reference(
    draws: _Draws,
    speaker: Speaker,
    recording: int,
    speed: float,
    settings: SceneSettings,
    pool: Pool,
    audio: AudioConfig,
) -> Reference:
    # A reference is either clean and dry, or has both a room and noise.
    noisy = 1.0 if draws.chance(settings.reference_noise_probability) else 0.0
    return Reference(
        voice=_voice(draws, speaker, recording, speed, audio.reference_seconds, noisy, pool),
        level_db=draws.between(settings.level_db),
        noise=_noise(draws, noisy, settings.reference_snr_db, audio.reference_seconds, settings, pool),
        kept=not draws.chance(settings.reference_dropout),
    )


def _voice(
    draws: _Draws, speaker: Speaker, number: int, speed: float, seconds: float, rir_probability: float, pool: Pool
) -> Voice:
    recording = speaker.recordings[number]
    slack_seconds = recording.seconds / speed - seconds
    place_seconds = abs(slack_seconds) * draws.between((0.0, 1.0))
    in_room = draws.chance(rir_probability)
    room = draws.pick(len(pool.rirs), pool.rir_sampler)
    return Voice(
        speaker=speaker.name,
        recording=recording,
        start_seconds=place_seconds * speed if slack_seconds > 0 else 0.0,
        offset_seconds=place_seconds if slack_seconds <= 0 else 0.0,
        speed=speed,
        rir=pool.rirs[room] if in_room and pool.rirs else None,
    )


def _noise(
    draws: _Draws, probability: float, snr_db: Range, seconds: float, settings: SceneSettings, pool: Pool
) -> Noise | None:
    heard = draws.chance(probability)
    number, place = draws.pick(len(pool.noises), pool.noise_sampler), draws.between((0.0, 1.0))
    exponent, seed, snr = draws.between((0.0, 2.0)), draws.index(2**32), draws.between(snr_db)
    if not heard or not (pool.noises or settings.generated_noise):
        return None
    if not pool.noises:
        return Noise(None, 0.0, exponent, seed, snr)
    recording = pool.noises[number]
    slack_seconds = recording.seconds - seconds
    # A short recording is looped, so it may start anywhere.
    start_seconds = place * (slack_seconds if slack_seconds > 0 else recording.seconds)
    return Noise(recording, start_seconds, 0.0, 0, snr)
