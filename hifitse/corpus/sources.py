"""What the configuration names: its folders, manifests and HDF5 files, scanned and kept apart by name."""

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from hifitse.audio import hdf5
from hifitse.audio.recording import Recording
from hifitse.config.data import CorpusEntry, DataConfig, WeightedCorpus
from hifitse.corpus.grouping import is_noise
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


@dataclass(slots=True)
class Sources:
    """All that the configuration names."""

    speech: list[Source] = field(default_factory=list)
    noise: list[Source] = field(default_factory=list)
    rir: list[Source] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """One line for each thing that was left out or assumed."""


def find_sources(data: DataConfig, progress: Progress | None = None) -> Sources:
    """Scan all that the configuration names.

    Args:
        progress: called with (files done, files in all, description) while headers are read.

    Raises:
        ConfigError: a path does not exist, or nothing usable is in it.
        DataError: a manifest is wrong.
    """
    sources = Sources()
    sources.speech = _named_apart(_scan_all(data, "speech", sources.notes, progress))
    for kind in ("noise", "rir"):
        found = _scan_all(data, kind, sources.notes, progress)
        setattr(sources, kind, [_prefixed(source) for source in found] if len(found) > 1 else found)
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


def _scan_all(data: DataConfig, kind: str, notes: list[str], progress: Progress | None) -> list[Source]:
    key = f"data.{kind}"
    entries: Sequence[CorpusEntry] = getattr(data, kind)
    roots = [(number, root) for number, entry in enumerate(entries) for root in _roots(path_of(entry), key, notes)]
    sources = []
    for (number, root), label in zip(roots, _labels([root for _, root in roots]), strict=True):
        found = scan(root, key, data.exclude, progress)
        if data.channel:
            found.recordings = [replace(recording, channel=data.channel) for recording in found.recordings]
        if kind == "rir":
            found.recordings = _responses(root, found.recordings, notes)
        notes += [f"{key}: {line}" for line in found.notes]
        speakers = _by_speaker(root, found, notes) if key == "data.speech" else {}
        sources.append(Source(root, label, number, tuple(found.recordings), speakers, tuple(found.problems)))
    problems = [problem for source in sources for problem in source.problems]
    note(notes, key, "unusable files left out", problems)
    if roots and not any(source.speakers if key == "data.speech" else source.recordings for source in sources):
        where = ", ".join(str(root) for _, root in roots)
        first = f" ({len(problems)} unusable, first: {problems[0]})" if problems else ""
        remedy = "correct the path, or remove the key"
        if key == "data.speech":
            lying = sum(len(source.recordings) for source in sources)
            first += f", but {lying} audio files that belong to no speaker" if lying else ""
            remedy = "give a folder with a folder of .wav, .flac, .ogg or .mp3 files for each speaker, or a manifest"
        raise ConfigError(f"{key}: {where}: no usable recording{first}; {remedy}")
    return sources


def _responses(root: Path, recordings: Sequence[Recording], notes: list[str]) -> list[Recording]:
    """Leave out what is no impulse response: noises by name, and what is longer than any room reverberates."""
    noises = [recording.name for recording in recordings if is_noise(recording.name)]
    long = [recording.name for recording in recordings if recording.seconds > _LONGEST_RESPONSE_SECONDS]
    for what, names in (("noises", noises), (f"files longer than {_LONGEST_RESPONSE_SECONDS:g} s", long)):
        note(notes, "data.rir", f"{len(names)} {what} in {root.name} left out, as no impulse responses", names)
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


def _by_speaker(root: Path, found: Scan, notes: list[str]) -> dict[str, list[Recording]]:
    speakers: dict[str, list[Recording]] = {}
    nameless: list[str] = []
    for recording in found.recordings:
        name = found.speakers.get(recording.name) or _speaker_of(recording.name, is_folder=root.is_dir())
        if name:
            speakers.setdefault(name, []).append(recording)
        else:
            nameless.append(recording.name)
    note(notes, "data.speech", f"files of {root.name} without a speaker left out", nameless)
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


def _named_apart(sources: list[Source]) -> list[Source]:
    """Put the label before speakers' names that several sources have: they are different people."""
    seen = Counter(name for source in sources for name in source.speakers)
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
    renamed = (replace(recording, name=prefix + recording.name) for recording in source.recordings)
    return replace(source, recordings=tuple(renamed), prefix=prefix)
