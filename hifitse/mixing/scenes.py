"""Scenes: the full recipe of one mixture, drawn without touching any audio.

A scene is a function of (seed, purpose, index, settings, pool, attempt). All draws come from hashes of
them, so neither workers nor interruptions change what is heard. Scenes are JSON-able by
`dataclasses.asdict`.
"""

from collections.abc import Sequence
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
    """Active level of the speech over its RMS, in dB."""


@dataclass(frozen=True, slots=True)
class Reference:
    """Another recording of the target speaker, at the speed of the target."""

    voice: Voice
    level_db: float
    """Active speech level in dB below full scale."""
    noise: Noise | None
    kept: bool
    """False: reference dropout, digital silence takes its place; never in TA scenes."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Who speaks, which crops, levels, room and noise, and the reference."""

    index: int
    attempt: tuple[int, ...]
    """How often the target with its reference, and then each interferer, was drawn again, for it was not audible."""
    present: bool
    """TP; else TA, where `speaker` is known by the reference only."""
    speaker: str
    level_db: float
    """Active speech level of the target in dB below full scale; in TA scenes what it would have been."""
    room: str | None
    """The room of all voices but the reference; None: they are dry."""
    target: Voice | None
    interferers: tuple[Interferer, ...]
    noise: Noise | None
    reference: Reference


def draw_scene(
    seed: int,
    purpose: str,
    index: int,
    settings: SceneSettings,
    pool: Pool,
    audio: AudioConfig,
    attempt: Sequence[int] = (),
) -> Scene:
    """Draw a scene. TP or TA follows from the index and the ratio alone.

    All voices are in one room, each at a position of its own, as people are. In a room with fewer positions than
    voices they share them: several people can stand close together, but never in different rooms.

    Args:
        seed, purpose, index: what the scene is the hash of, e.g. ``0, "train", 17``.
        settings: the mixing settings of its step.
        pool: recordings to draw from, at least one speaker more than there are interferers.
        audio: lengths of the segments.
        attempt: which draw of each voice: first the target with its reference, then each interferer; 0 where there
            is none. So a voice that is not audible is drawn again alone.
    """
    # Every scene draws the same things in the same order, so that settings change no more than they must.
    draws = _Draws(generator(seed, purpose, index))
    level_db = draws.between(settings.level_db)
    lowest, highest = settings.num_interferers
    num_interferers = lowest + draws.index(highest - lowest + 1)
    assert num_interferers < len(pool.speakers), "a pool holds at least one speaker more than there are interferers"
    noise = _noise(draws, settings.noise_probability, settings.snr_db, audio.mixture_seconds, settings, pool)
    # The target's place is the last one drawn: where it is absent, the others still do not share one needlessly.
    room, (*rirs, target_rir) = _room(draws, settings.rir_probability, num_interferers + 1, pool)
    attempt = (*attempt, *[0] * (1 + num_interferers))[: 1 + num_interferers]
    of_voices = [_Draws(generator(seed, purpose, index, *place)) for place in enumerate(attempt)]

    present = not is_absent(index, settings.absent_ratio)
    number = of_voices[0].pick(len(pool.speakers), pool.speaker_sampler)
    target, reference = _target(of_voices[0], pool.speakers[number], target_rir, settings, pool, audio, present)
    taken, interferers = [number], []
    for draws, rir in zip(of_voices[1:], rirs, strict=True):
        taken.append(draws.pick(len(pool.speakers), pool.speaker_sampler, taken))
        interferers.append(_interferer(draws, pool.speakers[taken[-1]], rir, settings, audio))
    return Scene(
        index=index,
        attempt=attempt,
        present=present,
        speaker=target.speaker,
        level_db=level_db,
        room=room,
        target=target if present else None,
        interferers=tuple(interferers),
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

    def pick(self, count: int, shares: CorpusSampler | None, taken: Sequence[int] = ()) -> int:
        """Draw an index below `count` that is not taken; by the shares of the corpora, if there are any."""
        if shares is not None:
            return shares.pick(self._uniform(), taken)
        while (index := self.index(count)) in taken:
            pass
        return index

    def several(self, count: int, how_many: int) -> list[int]:
        """Draw indices below `count`, all different; if there are fewer than asked for, they come round again."""
        left: list[int] = []
        drawn = []
        for _ in range(how_many):
            left = left or list(range(count))
            drawn.append(left.pop(self.index(len(left))))
        return drawn


def _room(draws: _Draws, probability: float, num_voices: int, pool: Pool) -> tuple[str | None, list[Recording | None]]:
    """Return a room, and where each voice is in it."""
    in_room = draws.chance(probability)
    number = draws.pick(len(pool.rooms), pool.room_sampler)
    room = pool.rooms[number] if pool.rooms else None
    places = draws.several(len(room.positions) if room else 1, num_voices)
    if not in_room or room is None:
        return None, [None] * num_voices
    return room.name, [room.positions[place] for place in places]


def _target(
    draws: _Draws,
    speaker: Speaker,
    rir: Recording | None,
    settings: SceneSettings,
    pool: Pool,
    audio: AudioConfig,
    present: bool,
) -> tuple[Voice, Reference]:
    """Return two recordings of a speaker at one speed: the target, and the reference, from another session if known."""
    speed = settings.speeds[draws.index(len(settings.speeds))]
    number = draws.index(len(speaker.recordings))
    same = speaker.session(number)
    other = (same.stop + draws.index(len(speaker.recordings) - len(same))) % len(speaker.recordings)
    target = _voice(draws, speaker, number, speed, audio.mixture_seconds, rir)
    # A reference is either clean and dry, or has both a room, any room, and noise.
    noisy = 1.0 if draws.chance(settings.reference_noise_probability) else 0.0
    _, (rir,) = _room(draws, noisy, 1, pool)
    return target, Reference(
        voice=_voice(draws, speaker, other, speed, audio.reference_seconds, rir),
        level_db=draws.between(settings.level_db),
        noise=_noise(draws, noisy, settings.reference_snr_db, audio.reference_seconds, settings, pool),
        # A TA scene without its reference would teach that none means silence.
        kept=not draws.chance(settings.reference_dropout) or not present,
    )


def _interferer(
    draws: _Draws, speaker: Speaker, rir: Recording | None, settings: SceneSettings, audio: AudioConfig
) -> Interferer:
    sir_db = draws.between(settings.sir_db)
    number = draws.index(len(speaker.recordings))
    speed = settings.speeds[draws.index(len(settings.speeds))]
    return Interferer(_voice(draws, speaker, number, speed, audio.mixture_seconds, rir), sir_db)


def _voice(draws: _Draws, speaker: Speaker, number: int, speed: float, seconds: float, rir: Recording | None) -> Voice:
    recording = speaker.recordings[number]
    slack_seconds = recording.seconds / speed - seconds
    place_seconds = abs(slack_seconds) * draws.between((0.0, 1.0))
    return Voice(
        speaker=speaker.name,
        recording=recording,
        start_seconds=place_seconds * speed if slack_seconds > 0 else 0.0,
        offset_seconds=place_seconds if slack_seconds <= 0 else 0.0,
        speed=speed,
        rir=rir,
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
