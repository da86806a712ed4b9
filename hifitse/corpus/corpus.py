"""The corpus: speakers, noises and rooms, once for training and once held out for validation."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hifitse.audio.recording import Recording
from hifitse.config.data import CorpusEntry
from hifitse.config.schema import Config
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
class Pool:
    """What the scenes of one split are drawn from; everything is sorted by name."""

    speakers: tuple[Speaker, ...]
    noises: tuple[Recording, ...]
    """Empty: noise is generated, or there is none."""
    rirs: tuple[Recording, ...]
    """Empty: voices are dry."""
    speaker_sampler: CorpusSampler | None = None
    """How often each corpus is drawn from; None: every speaker is equally likely."""
    noise_sampler: CorpusSampler | None = None
    rir_sampler: CorpusSampler | None = None


@dataclass(frozen=True, slots=True)
class Corpus:
    """Both splits, what a person should know about them, and a digest of what is in them."""

    train: Pool
    held_out: Pool
    notes: tuple[str, ...]
    """One line for each thing that was left out or shared."""
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
    if not rirs and data.simulated_rooms is not None:
        folder = simulate_rooms(data.simulated_rooms, config.audio.sample_rate, progress)
        rirs = scan(folder, "data.simulated_rooms").recordings
    split = split_speech(speakers, data.split, data.held_out_fraction, most_interferers(config), notes)
    train_noises, held_out_noises = split_files(noises, "noise", data.held_out_fraction, notes)
    train_rirs, held_out_rirs = split_files(rirs, "rir", data.held_out_fraction, notes)
    owners = {name: source.entry for source in sources.speech for name in source.speakers}
    train = Pool(
        _as_speakers(split.train),
        train_noises,
        train_rirs,
        _sampler(data.speech, sorted(split.train), owners),
        _sampler(data.noise, [noise.name for noise in train_noises], _file_owners(sources.noise)),
        _sampler(data.rir, [rir.name for rir in train_rirs], _file_owners(sources.rir)),
    )
    return Corpus(
        train=train,
        held_out=Pool(_as_speakers(split.held_out), held_out_noises, held_out_rirs),
        notes=tuple(notes),
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


def _fingerprint(speakers: dict[str, list[Recording]], noises: Iterable[Recording], rirs: Iterable[Recording]) -> str:
    rows = [("speech", name, recording) for name, recordings in speakers.items() for recording in recordings]
    rows += [("noise", "", recording) for recording in noises]
    rows += [("rir", "", recording) for recording in rirs]
    lines = sorted(f"{kind}\t{who}\t{r.name}\t{r.num_frames}\t{r.sample_rate}\n" for kind, who, r in rows)
    return hashlib.blake2b("".join(lines).encode(), digest_size=16).hexdigest()
