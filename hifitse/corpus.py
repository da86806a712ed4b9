"""The corpus: speakers, noises and rooms, once for training and once held out for validation."""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hifitse import rooms, splitting
from hifitse.config import Config, DataConfig
from hifitse.errors import ConfigError
from hifitse.scanning import Progress, Recording, Scan, scan

__all__ = ["Corpus", "Pool", "Recording", "Speaker", "load_corpus"]

_FLAT_SPEAKER = re.compile(r"(?<![a-z])reader_[0-9]+", re.IGNORECASE)
_NAMED_IN_NOTES = 3


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
    data = config.data
    notes: list[str] = []
    speakers = _speakers(data, notes, progress)
    noises = _flat(data.noise, "data.noise", data.exclude, notes, progress)
    rirs = _flat(data.rir, "data.rir", data.exclude, notes, progress)
    if not rirs and data.simulated_rooms is not None:
        folder = rooms.simulated(data.simulated_rooms, config.audio.sample_rate, progress)
        rirs = scan(folder, "data.simulated_rooms").recordings
    split = splitting.split_speech(speakers, data.split, data.held_out_fraction, most_interferers(config), notes)
    train_noises, held_out_noises = splitting.split_files(noises, "noise", data.held_out_fraction, notes)
    train_rirs, held_out_rirs = splitting.split_files(rirs, "rir", data.held_out_fraction, notes)
    return Corpus(
        train=Pool(_as_speakers(split.train), train_noises, train_rirs),
        held_out=Pool(_as_speakers(split.held_out), held_out_noises, held_out_rirs),
        notes=tuple(notes),
        fingerprint=_fingerprint(speakers, noises, rirs),
    )


def most_interferers(config: Config) -> int:
    """Return the largest number of interferers that any phase can ask for."""
    return max((phase.num_interferers or config.mixing.num_interferers)[1] for phase in config.curriculum)


def _speakers(data: DataConfig, notes: list[str], progress: Progress | None) -> dict[str, list[Recording]]:
    """Return speaker to recordings over all roots; equal names in two roots are two people."""
    roots: list[dict[str, list[Recording]]] = []
    problems: list[str] = []
    for root in data.speech:
        found = scan(root, "data.speech", data.exclude, progress)
        problems += found.problems
        roots.append(_by_speaker(root, found, notes))
    _note(notes, "data.speech", "unusable files left out", problems)
    seen = Counter(name for speakers in roots for name in speakers)
    labels = _labels(data.speech)
    merged: dict[str, list[Recording]] = {}
    for label, speakers in zip(labels, roots, strict=True):
        for name, recordings in speakers.items():
            merged[name if seen[name] == 1 else f"{label}/{name}"] = recordings
    if not merged:
        where = ", ".join(map(str, data.speech))
        raise ConfigError(
            f"data.speech: {where}: no usable recording{_first(problems)}; give a folder with one folder of "
            ".wav, .flac, .ogg or .mp3 files for each speaker, or a manifest"
        )
    few = sorted(name for name, recordings in merged.items() if len(recordings) < 2)
    _note(notes, "data.speech", "speakers with a single recording left out (the reference must be another one)", few)
    return {name: merged[name] for name in sorted(merged) if len(merged[name]) >= 2}


def _by_speaker(root: Path, found: Scan, notes: list[str]) -> dict[str, list[Recording]]:
    speakers: dict[str, list[Recording]] = {}
    nameless: list[str] = []
    for recording in found.recordings:
        name = found.speakers.get(recording.name) or _speaker_of(recording.name, is_manifest=root.is_file())
        if name:
            speakers.setdefault(name, []).append(recording)
        else:
            nameless.append(recording.name)
    _note(notes, "data.speech", f"files of {root.name} without a speaker left out", nameless)
    return speakers


def _speaker_of(name: str, is_manifest: bool) -> str:
    """Return the first folder; for a file directly in the root, the reader id of the DNS corpus; or ""."""
    folder, slash, _ = name.partition("/")
    if is_manifest:
        return ""
    if slash:
        return folder
    match = _FLAT_SPEAKER.search(name)
    return match.group().lower() if match else ""


def _flat(
    roots: Sequence[Path], key: str, exclude: Sequence[str], notes: list[str], progress: Progress | None
) -> list[Recording]:
    """Return all recordings of several roots; with more than one root, names start with the root's."""
    recordings: list[Recording] = []
    problems: list[str] = []
    for root, label in zip(roots, _labels(roots), strict=True):
        found = scan(root, key, exclude, progress)
        problems += found.problems
        prefix = f"{label}/" if len(roots) > 1 else ""
        recordings += [Recording(r.path, prefix + r.name, r.sample_rate, r.num_frames) for r in found.recordings]
    _note(notes, key, "unusable files left out", problems)
    if roots and not recordings:
        where = ", ".join(map(str, roots))
        raise ConfigError(f"{key}: {where}: no usable recording{_first(problems)}; correct the path, or remove the key")
    return sorted(recordings, key=lambda recording: recording.name)


def _labels(roots: Sequence[Path]) -> list[str]:
    """Return each root's own name, numbered where two are equal: no absolute location enters a name."""
    seen: Counter[str] = Counter()
    labels = []
    for root in roots:
        name = root.stem if root.suffix == ".jsonl" else Path(os.path.abspath(root)).name
        seen[name] += 1
        labels.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return labels


def _as_speakers(recordings: dict[str, list[Recording]]) -> tuple[Speaker, ...]:
    return tuple(Speaker(name, tuple(recordings[name])) for name in sorted(recordings))


def _note(notes: list[str], key: str, what: str, items: Sequence[str]) -> None:
    """Add a line that names the first few items and counts the others."""
    if items:
        more = f", and {len(items) - _NAMED_IN_NOTES} more" if len(items) > _NAMED_IN_NOTES else ""
        notes.append(f"{key}: {what}: {', '.join(items[:_NAMED_IN_NOTES])}{more}")


def _first(problems: Sequence[str]) -> str:
    return f" ({len(problems)} unusable, first: {problems[0]})" if problems else ""


def _fingerprint(speakers: dict[str, list[Recording]], noises: Iterable[Recording], rirs: Iterable[Recording]) -> str:
    rows = [("speech", name, recording) for name, recordings in speakers.items() for recording in recordings]
    rows += [("noise", "", recording) for recording in noises]
    rows += [("rir", "", recording) for recording in rirs]
    lines = sorted(f"{kind}\t{who}\t{r.name}\t{r.num_frames}\t{r.sample_rate}\n" for kind, who, r in rows)
    return hashlib.blake2b("".join(lines).encode(), digest_size=16).hexdigest()
