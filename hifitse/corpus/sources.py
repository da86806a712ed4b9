"""What the configuration names: its folders, manifests and HDF5 files, scanned and kept apart by name."""

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from hifitse.audio import hdf5
from hifitse.audio.recording import Recording
from hifitse.config.data import CorpusEntry, WeightedCorpus
from hifitse.config.schema import Config
from hifitse.corpus.grouping import SetName, is_noise, utterance_session_of
from hifitse.corpus.official import NAMES, look_official, official_sets, without_set
from hifitse.corpus.scan import EXTENSIONS, Progress, Scan, scan
from hifitse.errors import ConfigError
from hifitse.storage import is_text

_FLAT_SPEAKER = re.compile(r"(?<![a-z])reader_[0-9]+", re.IGNORECASE)
_NAMED_IN_NOTES = 3
_LONGEST_RESPONSE_SECONDS = 10.0
"""No room reverberates longer: a longer file among impulse responses is something else."""


@dataclass(frozen=True, slots=True)
class Source:
    """One folder, manifest or HDF5 file, and its usable recordings."""

    path: Path
    label: str
    """Its own name, numbered where two are equal."""
    entry: int
    """Position in the configuration; the files of a folder of HDF5 files share theirs."""
    recordings: tuple[Recording, ...]
    """Sorted by name. Names are unique over all sources of noise, and of impulse responses."""
    speakers: dict[str, list[Recording]]
    """The same by speaker; names are unique over all sources of speech. Empty for noise and impulse responses."""
    problems: tuple[str, ...]
    """One line for each recording that was left out, with the reason."""
    prefix: str = ""
    """What the recordings' names have before them, because there are other sources."""
    sets: dict[Recording, SetName] = field(default_factory=dict)
    """Of an official split: the set that a recording is of; what is of none is left out."""
    sessions: dict[Recording, str] = field(default_factory=dict)
    """Of speech: the chapter, video or folder that a recording is from."""

    def set_of(self, recording: Recording) -> SetName | None:
        """Return the set that a recording is given to; None: it is left out."""
        return self.sets.get(recording) if self.sets else "train"


@dataclass(slots=True)
class Sources:
    """All that the configuration names in one of its sections."""

    speech: list[Source] = field(default_factory=list)
    noise: list[Source] = field(default_factory=list)
    rir: list[Source] = field(default_factory=list)


@dataclass(slots=True)
class AllSources(Sources):
    """What data names, and what validation and test name on their own."""

    validation: Sources = field(default_factory=Sources)
    test: Sources = field(default_factory=Sources)
    notes: list[str] = field(default_factory=list)
    """One line for each thing that was left out or assumed."""

    def every(self, kind: str) -> list[Source]:
        """Return the corpora of a kind, of all sections."""
        return [source for section in (self, self.validation, self.test) for source in getattr(section, kind)]


def find_sources(config: Config, progress: Progress | None = None) -> AllSources:
    """Scan all that the configuration names.

    Args:
        progress: called with (files done, files in all, description) while headers are read.

    Raises:
        ConfigError: a path does not exist, or nothing usable is in it.
        DataError: a manifest is wrong.
    """
    sources = AllSources()
    for section, into in {"data": sources, "validation": sources.validation, "test": sources.test}.items():
        for kind in ("speech", "noise", "rir"):
            entries = getattr(getattr(config, section), kind, ())
            found = _scan_all(entries, f"{section}.{kind}", config, sources.notes, progress)
            if kind == "speech":
                found = _named_apart(found, f"{section}.speech", config.data.same_speakers is None, sources.notes)
            elif len(found) > 1:
                found = [_prefixed(source) for source in found]
            setattr(into, kind, found)
    return sources


def path_of(entry: CorpusEntry) -> Path:
    """Return the path of an entry of the configuration."""
    return entry.path if isinstance(entry, WeightedCorpus) else entry


def weights_of(entries: Sequence[CorpusEntry]) -> list[float] | None:
    """Return the weight of each entry: 1 where it has none; None if no entry has one."""
    weights = [entry.weight if isinstance(entry, WeightedCorpus) else None for entry in entries]
    return None if set(weights) <= {None} else [1.0 if weight is None else weight for weight in weights]


def note(notes: list[str], key: str, what: str, items: Sequence[str]) -> None:
    """Add a line that names the first few items and counts the others."""
    if items:
        more = f", and {len(items) - _NAMED_IN_NOTES} more" if len(items) > _NAMED_IN_NOTES else ""
        notes.append(f"{key}: {what}: {', '.join(items[:_NAMED_IN_NOTES])}{more}")


def _scan_all(
    entries: Sequence[CorpusEntry], key: str, config: Config, notes: list[str], progress: Progress | None
) -> list[Source]:
    section, _, kind = key.partition(".")
    data, is_official = config.data, section == "data" and config.data.split == "official"
    roots = [(number, root) for number, entry in enumerate(entries) for root in _roots(path_of(entry), key, notes)]
    sources = []
    for (number, root), label in zip(roots, _labels([root for _, root in roots]), strict=True):
        found = scan(root, key, data.exclude, progress)
        if data.channel:
            found.recordings = [replace(recording, channel=data.channel) for recording in found.recordings]
        if kind == "rir":
            found.recordings = _responses(root, found.recordings, key, notes)
        notes += [f"{key}: {line}" for line in found.notes]
        sets = official_sets(found, root) if is_official else {}
        speakers = _by_speaker(root, found, key, notes, is_official=is_official) if kind == "speech" else {}
        sources.append(
            Source(
                path=root,
                label=label,
                entry=number,
                recordings=tuple(found.recordings),
                speakers=speakers,
                problems=tuple(found.problems),
                sets={recording: sets[recording.name] for recording in found.recordings if recording.name in sets},
                sessions={
                    recording: utterance_session_of(recording.name, name)
                    for name, recordings in speakers.items()
                    for recording in recordings
                },
            )
        )
        if sets:
            others = [recording.name for recording in found.recordings if recording.name not in sets]
            note(notes, key, f"recordings of {root.name} that are of no set left out", others)
        elif kind == "speech" and (folders := look_official([recording.name for recording in found.recordings])):
            what = f"folders of {root.name} taken for speakers (data.split: official would take them for sets)"
            note(notes, key, what, folders)
    problems = [problem for source in sources for problem in source.problems]
    note(notes, key, "unusable files left out", problems)
    if is_official and kind == "speech" and not any(source.sets for source in sources):
        where = ", ".join(str(root) for _, root in roots)
        raise ConfigError(
            f"data.split: official: {where}: no folder, and no column split of a manifest, is called {NAMES}; use auto "
            "or name the corpora of validation and test in validation.speech and test.speech"
        )
    if roots and not any(source.speakers if kind == "speech" else source.recordings for source in sources):
        where = ", ".join(str(root) for _, root in roots)
        first = f" ({len(problems)} unusable, first: {problems[0]})" if problems else ""
        remedy = "correct the path, or remove the key"
        if kind == "speech":
            lying = sum(len(source.recordings) for source in sources)
            first += f", but {lying} audio files that belong to no speaker" if lying else ""
            remedy = "give a folder with a folder of .wav, .flac, .ogg or .mp3 files for each speaker, or a manifest"
        raise ConfigError(f"{key}: {where}: no usable recording{first}; {remedy}")
    return sources


def _responses(root: Path, recordings: Sequence[Recording], key: str, notes: list[str]) -> list[Recording]:
    """Leave out what is no impulse response: noises by name, and what is longer than any room reverberates."""
    noises = [recording.name for recording in recordings if is_noise(recording.name)]
    long = [recording.name for recording in recordings if recording.seconds > _LONGEST_RESPONSE_SECONDS]
    for what, names in (("noises", noises), (f"files longer than {_LONGEST_RESPONSE_SECONDS:g} s", long)):
        note(notes, key, f"{len(names)} {what} in {root.name} left out, as no impulse responses", names)
    left_out = {*noises, *long}
    return [recording for recording in recordings if recording.name not in left_out]


def _roots(path: Path, key: str, notes: list[str]) -> list[Path]:
    """Return the HDF5 files that are directly in a folder, or else the path itself."""
    if not path.is_dir():
        return [path]
    inside = sorted(item for item in path.iterdir() if not item.name.startswith("."))
    found = [item for item in inside if item.suffix == hdf5.SUFFIX and item.is_file()]
    files = [item for item in found if is_text(item.name)]
    note(notes, key, "left out, their names are not UTF-8", [str(item) for item in found if item not in files])
    if not files:
        return [path]
    beside = [str(item) for item in inside if item.is_dir() or item.suffix.lower() in EXTENSIONS]
    note(notes, key, "left out beside .h5 files (name them on their own)", beside)
    return files


def _labels(roots: Sequence[Path]) -> list[str]:
    """Return each root's own name, numbered where two are equal: no absolute location enters a name."""
    seen: Counter[str] = Counter()
    labels = []
    for root in roots:
        name = root.stem if root.suffix in (".jsonl", hdf5.SUFFIX) else Path(os.path.abspath(root)).name
        seen[name] += 1
        labels.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return labels


def _by_speaker(
    root: Path, found: Scan, key: str, notes: list[str], *, is_official: bool
) -> dict[str, list[Recording]]:
    speakers: dict[str, list[Recording]] = {}
    nameless: list[str] = []
    for recording in found.recordings:
        place = without_set(recording.name) if is_official else recording.name
        name = found.speakers.get(recording.name) or _speaker_of(place, is_folder=root.is_dir())
        if name:
            speakers.setdefault(name, []).append(recording)
        else:
            nameless.append(recording.name)
    note(notes, key, f"files of {root.name} without a speaker left out", nameless)
    return speakers


def _speaker_of(name: str, is_folder: bool) -> str:
    """Return the first folder; for a file directly in the root, the reader id of the DNS corpus; or ""."""
    folder, slash, _ = name.partition("/")
    if not is_folder:
        return ""
    if slash:
        return folder
    match = _FLAT_SPEAKER.search(name)
    return match.group().lower() if match else ""


def _named_apart(sources: list[Source], key: str, is_told: bool, notes: list[str]) -> list[Source]:
    """Put the label before speakers' names that several sources have: they are different people, unless said."""
    seen = Counter(name for source in sources for name in source.speakers)
    if is_told:
        shared = [f"{source.label}/{name}" for source in sources for name in source.speakers if seen[name] > 1]
        what = "taken for different people, though named alike (data.same_speakers says who is one person)"
        note(notes, key, what, sorted(shared, key=lambda name: name.partition("/")[2]))
    return [
        replace(
            source,
            speakers={
                name if seen[name] == 1 else f"{source.label}/{name}": recordings
                for name, recordings in source.speakers.items()
            },
        )
        for source in sources
    ]


def _prefixed(source: Source) -> Source:
    """Put the label before the recordings' names, for other sources may have the same."""
    prefix = f"{source.label}/"
    renamed = {recording: replace(recording, name=prefix + recording.name) for recording in source.recordings}
    sets = {renamed[recording]: name for recording, name in source.sets.items()}
    return replace(source, recordings=tuple(renamed.values()), prefix=prefix, sets=sets)
