"""A test set: pairs of a mixture and a speaker to extract from it."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hifitse.audio.files import AudioInfo, probe_audio
from hifitse.errors import DataError


@dataclass(frozen=True)
class Pair:
    """One mixture and one speaker to extract: what papers count."""

    name: str
    mixture: Path
    reference: Path
    target: Path | None
    """None: the speaker is absent from the mixture."""
    speaker: str
    """Whom the reference is of."""
    interferers: tuple[Path, ...] = ()
    """What else is in the mixture, where it is known."""

    @property
    def parts(self) -> tuple[Path, ...]:
        """The files that are of one length and rate with the mixture."""
        return (() if self.target is None else (self.target,)) + self.interferers


@dataclass(frozen=True)
class PairList:
    """The pairs of a test set."""

    name: str
    layout: str
    """What it was read as."""
    root: Path
    """The folder that names of files are relative to, wherever it is."""
    pairs: tuple[Pair, ...]


@dataclass(frozen=True)
class ProbedList:
    """A test set whose files are all there."""

    pairs: PairList
    sample_rate: int
    """Of its mixtures and targets, in Hz."""
    lengths: tuple[tuple[int, int, int], ...]
    """Of each pair the frames of the mixture and of the reference, and the rate of the reference in Hz."""
    digest: str
    """Identifies the list: which files are paired how, their lengths and rates; the same on any machine."""


def probe(pairs: PairList, progress: Callable[[int, int], None] | None = None) -> ProbedList:
    """Read the header of each file, before hours of work.

    Raises:
        DataError: a file is unreadable, the parts of a mixture differ in length or rate, or the mixtures in rate.
    """
    known: dict[Path, AudioInfo] = {}

    def info(path: Path) -> AudioInfo:
        if path not in known:
            known[path] = probe_audio(path)
        return known[path]

    lengths, listed, rate = [], [], 0
    for number, pair in enumerate(pairs.pairs):
        if progress:
            progress(number, len(pairs.pairs))
        mixture, reference = info(pair.mixture), info(pair.reference)
        for path in pair.parts:
            if info(path) != mixture:
                raise DataError(
                    f"{path}: {_spelled(info(path))}, but its mixture {pair.mixture} has {_spelled(mixture)}; "
                    "correct the list, or cut the files to one length"
                )
        rate = rate or mixture.sample_rate
        if mixture.sample_rate != rate:
            raise DataError(
                f"{pair.mixture}: has {mixture.sample_rate} Hz, the mixtures before it {rate} Hz; "
                "make a list of each rate, since figures at different rates are no mean"
            )
        lengths.append((mixture.num_frames, reference.num_frames, reference.sample_rate))
        names = [_name(path, pairs.root) for path in (pair.mixture, pair.reference, *pair.parts)]
        listed.append([pair.name, pair.speaker, pair.target is not None, names, *lengths[-1]])
    digest = hashlib.blake2b(json.dumps([rate, listed]).encode(), digest_size=8).hexdigest()
    return ProbedList(pairs, rate, tuple(lengths), digest)


def _spelled(info: AudioInfo) -> str:
    return f"{info.num_frames} frames at {info.sample_rate} Hz"


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else "/".join(path.parts[-3:])
