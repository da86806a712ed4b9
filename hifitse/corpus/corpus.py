"""The corpus: speakers, noises and rooms, once for training and once held out for validation."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from hifitse.audio.recording import Recording
from hifitse.config.data import CorpusEntry
from hifitse.config.schema import Config
from hifitse.corpus.bandwidth import rate_problems
from hifitse.corpus.grouping import room_of, session_of
from hifitse.corpus.sampling import CorpusSampler
from hifitse.corpus.scan import Progress, scan
from hifitse.corpus.simulated_rooms import simulate_rooms
from hifitse.corpus.sources import Source, Sources, find_sources, note, weights_of
from hifitse.corpus.split import split_files, split_speech


@dataclass(frozen=True, slots=True)
class Speaker:
    """A speaker and at least two recordings, sorted by name."""

    name: str
    recordings: tuple[Recording, ...]


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


@dataclass(frozen=True, slots=True)
class Corpus:
    """Both splits, what a person should know about them, and a digest of what is in them."""

    train: Pool
    held_out: Pool
    notes: tuple[str, ...]
    """One line for each thing that was left out or shared."""
    warnings: tuple[str, ...]
    """One line for each thing that will be heard in what is learnt."""
    fingerprint: str
    """Depends on speakers, names, lengths and rates, not on where the files are."""


def load_corpus(config: Config, progress: Progress | None = None) -> Corpus:
    """Scan the configured corpora and split them.

    Args:
        config: its sections data, mixing, curriculum and audio are used.
        progress: called with (files done, files in all, description) while headers are read.

    Raises:
        ConfigError: a path does not exist, nothing usable is in it, or there are too few speakers.
        DataError: a manifest is wrong.
    """
    return build_corpus(config, find_sources(config.data, progress), progress)


def build_corpus(config: Config, sources: Sources, progress: Progress | None = None) -> Corpus:
    """Split what was scanned. Weights are for training: validation hears every held-out speaker equally often.

    Raises:
        ConfigError: there are too few speakers.
    """
    data = config.data
    notes = list(sources.notes)
    speakers = _speakers(sources.speech, notes)
    noises, rirs = _files(sources.noise), _files(sources.rir)
    sessions, rooms = _groups(sources.noise, session_of), _groups(sources.rir, room_of)
    if not rirs and data.simulated_rooms is not None:
        folder = simulate_rooms(data.simulated_rooms, config.audio.sample_rate, progress)
        rirs = scan(folder, "data.simulated_rooms").recordings
        rooms = {rir.name: room_of(rir.name) for rir in rirs}
    split = split_speech(speakers, data.split, data.held_out_fraction, most_interferers(config), notes)
    train_noises, held_out_noises = split_files(noises, sessions, "noise", data.held_out_fraction, notes)
    train_rirs, held_out_rirs = split_files(rirs, rooms, "rir", data.held_out_fraction, notes)
    train_rooms = _as_rooms(train_rirs, rooms)
    owners = {name: source.entry for source in sources.speech for name in source.speakers}
    noise_owners, rir_owners = _file_owners(sources.noise), _file_owners(sources.rir)
    room_owners = {rooms[name]: entry for name, entry in rir_owners.items()}
    train = Pool(
        _as_speakers(split.train),
        train_noises,
        train_rooms,
        _sampler(data.speech, sorted(split.train), owners),
        _sampler(data.noise, [noise.name for noise in train_noises], noise_owners),
        _sampler(data.rir, [room.name for room in train_rooms], room_owners),
    )
    speech_notes, warnings = rate_problems(config, [r for s in speakers.values() for r in s], noises, rirs)
    return Corpus(
        train=train,
        held_out=Pool(_as_speakers(split.held_out), held_out_noises, _as_rooms(held_out_rirs, rooms)),
        notes=(*notes, *speech_notes),
        warnings=warnings,
        fingerprint=_fingerprint(speakers, noises, rirs),
    )


def most_interferers(config: Config) -> int:
    """Return the largest number of interferers that any phase can ask for."""
    return max((phase.num_interferers or config.mixing.num_interferers)[1] for phase in config.curriculum)


def _speakers(sources: Sequence[Source], notes: list[str]) -> dict[str, list[Recording]]:
    """Return speaker to recordings, sorted by name, of all that have at least two."""
    merged = {name: recordings for source in sources for name, recordings in source.speakers.items()}
    few = sorted(name for name, recordings in merged.items() if len(recordings) < 2)
    note(notes, "data.speech", "speakers with a single recording left out (the reference must be another one)", few)
    return {name: merged[name] for name in sorted(merged) if len(merged[name]) >= 2}


def _files(sources: Sequence[Source]) -> list[Recording]:
    return sorted((r for source in sources for r in source.recordings), key=lambda recording: recording.name)


def _file_owners(sources: Sequence[Source]) -> dict[str, int]:
    return {recording.name: source.entry for source in sources for recording in source.recordings}


def _groups(sources: Sequence[Source], group_of: Callable[[str], str]) -> dict[str, str]:
    """Return recording name to room or session; those of different sources are never the same."""
    return {
        recording.name: source.prefix + group_of(recording.name.removeprefix(source.prefix))
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


def _as_speakers(recordings: dict[str, list[Recording]]) -> tuple[Speaker, ...]:
    return tuple(Speaker(name, tuple(recordings[name])) for name in sorted(recordings))


def _as_rooms(rirs: Iterable[Recording], rooms: Mapping[str, str]) -> tuple[Room, ...]:
    grouped: dict[str, list[Recording]] = {}
    for rir in rirs:
        grouped.setdefault(rooms[rir.name], []).append(rir)
    return tuple(Room(name, tuple(grouped[name])) for name in sorted(grouped))


def _fingerprint(speakers: dict[str, list[Recording]], noises: Iterable[Recording], rirs: Iterable[Recording]) -> str:
    rows = [("speech", name, recording) for name, recordings in speakers.items() for recording in recordings]
    rows += [("noise", "", recording) for recording in noises]
    rows += [("rir", "", recording) for recording in rirs]
    lines = sorted(f"{kind}\t{who}\t{r.name}\t{r.num_frames}\t{r.sample_rate}\n" for kind, who, r in rows)
    return hashlib.blake2b("".join(lines).encode(), digest_size=16).hexdigest()
