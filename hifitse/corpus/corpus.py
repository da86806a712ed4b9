"""The corpus: speakers, noises and rooms, for training, held out for validation, and perhaps for a test."""

import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from hifitse.audio.recording import Recording
from hifitse.config.data import CorpusEntry
from hifitse.config.schema import Config
from hifitse.corpus.bandwidth import rate_problems
from hifitse.corpus.grouping import room_of, session_of
from hifitse.corpus.people import People
from hifitse.corpus.sampling import CorpusSampler
from hifitse.corpus.scan import Progress, scan
from hifitse.corpus.sets import file_sets, speech_sets
from hifitse.corpus.simulated_rooms import simulate_rooms
from hifitse.corpus.sources import AllSources, Source, find_sources, note, weights_of
from hifitse.corpus.split import Speech
from hifitse.errors import ConfigError

SET_NAMES = {"train": "train", "held_out": "validation", "test": "test"}
"""Key of a set to what it is called."""


@dataclass(frozen=True, slots=True)
class Speaker:
    """A speaker and at least two recordings, sorted by name, those of each corpus together."""

    name: str
    recordings: tuple[Recording, ...]
    sessions: tuple[int, ...] = ()
    """Number of the session that each recording is from, ascending; a reference is from another one than its target.
    Empty: it is any other recording, since sessions are not known, there is a single one, or they do not matter."""

    def session(self, number: int) -> range:
        """Return the recordings that are from the session of one of them."""
        if not self.sessions:
            return range(number, number + 1)
        own = self.sessions[number]
        return range(bisect_left(self.sessions, own), bisect_right(self.sessions, own))


@dataclass(frozen=True, slots=True)
class Room:
    """A room, and the impulse responses of at least one position in it, sorted by name."""

    name: str
    positions: tuple[Recording, ...]


@dataclass(frozen=True, slots=True)
class Pool:
    """What the scenes of one split are drawn from; everything is sorted by name."""

    speakers: tuple[Speaker, ...]
    noises: tuple[Recording, ...]
    """Empty: noise is generated, or there is none."""
    rooms: tuple[Room, ...]
    """Empty: voices are dry."""
    speaker_sampler: CorpusSampler | None = None
    """How often each corpus is drawn from; None: every speaker is equally likely."""
    noise_sampler: CorpusSampler | None = None
    room_sampler: CorpusSampler | None = None

    @property
    def rirs(self) -> tuple[Recording, ...]:
        """The impulse responses of all rooms."""
        return tuple(position for room in self.rooms for position in room.positions)

    @property
    def fingerprint(self) -> str:
        """Depends on speakers, names, lengths and rates, not on where the files are."""
        rows = [("speech", speaker.name, r) for speaker in self.speakers for r in speaker.recordings]
        rows += [("noise", "", recording) for recording in self.noises]
        rows += [("rir", "", recording) for recording in self.rirs]
        return _digest(rows)


@dataclass(frozen=True, slots=True)
class Corpus:
    """The sets, what a person should know about them, and a digest of what is in them."""

    train: Pool
    held_out: Pool
    """For validation."""
    notes: tuple[str, ...]
    """One line for each thing that was left out or shared."""
    warnings: tuple[str, ...]
    """One line for each thing that will be heard in what is learnt."""
    fingerprint: str
    """Of what training and validation use: depends on speakers, names, lengths and rates, not on where files are."""
    test: Pool | None = None
    """None: there is no test set."""

    @property
    def pools(self) -> dict[str, Pool]:
        """The sets by their keys."""
        return {"train": self.train, "held_out": self.held_out} | ({"test": self.test} if self.test else {})

    @property
    def num_new_speakers(self) -> int:
        """Speakers of the validation that training does not hear."""
        heard = {speaker.name for speaker in self.train.speakers}
        return sum(speaker.name not in heard for speaker in self.held_out.speakers)

    def require_test(self) -> Pool:
        """Return the test set.

        Raises:
            ConfigError: there is none.
        """
        if self.test is None:
            raise ConfigError(
                "test: there is no test set; name corpora in test.speech, set data.split: official where yours have "
                "one, or hold speakers out for it from the start with test: {}"
            )
        return self.test


def load_corpus(config: Config, progress: Progress | None = None) -> Corpus:
    """Scan the configured corpora and split them.

    Args:
        config: its sections data, mixing, curriculum, audio, validation and test are used.
        progress: called with (files done, files in all, description) while headers are read.

    Raises:
        ConfigError: a path does not exist, nothing usable is in it, there are too few speakers, or one is in two sets.
        DataError: a manifest is wrong.
    """
    return build_corpus(config, find_sources(config, progress), progress)


def build_corpus(config: Config, sources: AllSources, progress: Progress | None = None) -> Corpus:
    """Split what was scanned. Weights are for training: validation and test hear every speaker equally often.

    Raises:
        ConfigError: there are too few speakers, or one is in two sets.
    """
    data, notes = config.data, list(sources.notes)
    if not sources.rir and data.simulated_rooms is not None:
        folder = simulate_rooms(data.simulated_rooms, config.audio.sample_rate, progress)
        simulated = tuple(scan(folder, "data.simulated_rooms").recordings)
        sources = replace(sources, rir=[Source(folder, folder.name, 0, simulated, {}, ())])
    people = People(data.same_speakers, [name for source in sources.every("speech") for name in source.speakers])
    speech = speech_sets(config, sources, people, notes)
    rooms = _groups(sources.every("rir"), room_of)
    noises = file_sets(config, sources, "noise", _groups(sources.every("noise"), session_of), notes)
    rirs = file_sets(config, sources, "rir", rooms, notes)
    sessions = _sessions(sources, notes) if config.mixing.reference_from == "other_session" else {}
    pools = {
        part: Pool(_as_speakers(speech[part], sessions), noises[part], _as_rooms(rirs[part], rooms)) for part in speech
    }
    everybody = _merged(sources.speech, people)
    speech_notes, warnings = rate_problems(
        config,
        [recording for recordings in everybody.values() for recording in recordings],
        [recording for source in sources.noise for recording in source.recordings],
        [recording for source in sources.rir for recording in source.recordings],
    )
    return Corpus(
        train=_weighted(pools["train"], config, sources, people, rooms),
        held_out=pools["validation"],
        test=pools.get("test"),
        notes=(*notes, *speech_notes),
        warnings=warnings,
        fingerprint=_fingerprint(sources, everybody, people),
    )


def _weighted(pool: Pool, config: Config, sources: AllSources, people: People, rooms: Mapping[Recording, str]) -> Pool:
    """Return the training pool with the weights of its corpora."""
    speakers = {people.person(name): source.entry for source in sources.speech for name in source.speakers}
    noises = {noise.name: source.entry for source in sources.noise for noise in source.recordings}
    entries_of_rooms = {rooms[rir]: source.entry for source in sources.rir for rir in source.recordings}
    return replace(
        pool,
        speaker_sampler=_sampler(config.data.speech, [speaker.name for speaker in pool.speakers], speakers),
        noise_sampler=_sampler(config.data.noise, [noise.name for noise in pool.noises], noises),
        room_sampler=_sampler(config.data.rir, [room.name for room in pool.rooms], entries_of_rooms),
    )


def _merged(sources: Sequence[Source], people: People) -> Speech:
    """Return person to recordings, of all that have at least two."""
    merged: Speech = {}
    for source in sources:
        for name, recordings in source.speakers.items():
            merged.setdefault(people.person(name), []).extend(recordings)
    return {name: recordings for name, recordings in merged.items() if len(recordings) >= 2}


def _sessions(sources: AllSources, notes: list[str]) -> dict[Recording, str]:
    """Return each recording's session, that of another corpus being another one; tell who has a single session."""
    single, several = [], False
    for source in sources.every("speech"):
        for name, recordings in source.speakers.items():
            number = len({source.sessions[recording] for recording in recordings})
            several |= number > 1
            single += [name] if number == 1 < len(recordings) else []
    if several:
        what = (
            f"{len(single)} speakers have a single chapter, video or folder, so that references share it with targets"
        )
        note(notes, "mixing.reference_from", what, sorted(single))
    every = sources.every("speech")
    return {found: f"{source.label}/{session}" for source in every for found, session in source.sessions.items()}


def _groups(sources: Sequence[Source], group_of: Callable[[str], str]) -> dict[Recording, str]:
    """Return each recording's room or session; those of different sources are never the same."""
    return {
        recording: source.prefix + group_of(recording.name.removeprefix(source.prefix))
        for source in sources
        for recording in source.recordings
    }


def _sampler(entries: Sequence[CorpusEntry], names: Sequence[str], owners: Mapping[str, int]) -> CorpusSampler | None:
    """Return the shares of the entries in a pool of these names; entries that it has nothing of do not count."""
    weights = weights_of(entries)
    if weights is None or not names:
        return None
    members: list[list[int]] = [[] for _ in entries]
    for position, name in enumerate(names):
        members[owners[name]].append(position)
    pairs = [(weight, tuple(positions)) for weight, positions in zip(weights, members, strict=True) if positions]
    return CorpusSampler(tuple(weight for weight, _ in pairs), tuple(positions for _, positions in pairs))


def _as_speakers(speech: Speech, sessions: Mapping[Recording, str]) -> tuple[Speaker, ...]:
    """Return the speakers, sorted by name; without sessions where they say nothing."""
    speakers = []
    for name in sorted(speech):
        groups = groupby(speech[name], lambda recording: sessions.get(recording, recording.name))
        numbers = tuple(number for number, (_, found) in enumerate(groups) for _ in found)
        matters = 0 < numbers[-1] < len(numbers) - 1
        speakers.append(Speaker(name, tuple(speech[name]), numbers if matters else ()))
    return tuple(speakers)


def _as_rooms(rirs: Iterable[Recording], rooms: Mapping[Recording, str]) -> tuple[Room, ...]:
    grouped: dict[str, list[Recording]] = {}
    for rir in rirs:
        grouped.setdefault(rooms[rir], []).append(rir)
    return tuple(Room(name, tuple(grouped[name])) for name in sorted(grouped))


def _fingerprint(sources: AllSources, everybody: Speech, people: People) -> str:
    of_validation = _merged(sources.validation.speech, people)
    rows = [("speech", name, recording) for name, recordings in everybody.items() for recording in recordings]
    rows += [("validation.speech", name, r) for name, recordings in of_validation.items() for r in recordings]
    for kind, found in (
        ("noise", sources.noise),
        ("rir", sources.rir),
        ("validation.noise", sources.validation.noise),
        ("validation.rir", sources.validation.rir),
    ):
        rows += [(kind, "", recording) for source in found for recording in source.recordings]
    return _digest(rows)


def _digest(rows: Iterable[tuple[str, str, Recording]]) -> str:
    """Return a digest of recordings, each with its kind and the speaker."""
    lines = sorted(f"{kind}\t{who}\t{r.name}\t{r.num_frames}\t{r.sample_rate}\n" for kind, who, r in rows)
    return hashlib.blake2b("".join(lines).encode(), digest_size=16).hexdigest()
