"""Find audio files in folders and manifests, and read their headers once.

A large tree has 100 000 files. Their headers are read by a few threads, and what they say is kept in
the cache folder for as long as a file keeps its size and its time of change.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from hifitse import audio
from hifitse.errors import ConfigError, DataError

Progress = Callable[[int, int, str], None]
"""Called with (files done, files in all, what is being scanned)."""

EXTENSIONS = (".wav", ".flac", ".ogg", ".mp3")
_NUM_THREADS = 8
_CACHE_VERSION = 1


@dataclass(frozen=True, slots=True)
class Recording:
    """One audio file: where it is, its name within its corpus, and what its header says."""

    path: str
    """Where the file is."""
    name: str
    """Its path relative to its root, with forward slashes: the same on every machine."""
    sample_rate: int
    """In Hz."""
    num_frames: int
    """Length at that rate."""

    @property
    def seconds(self) -> float:
        return self.num_frames / self.sample_rate


@dataclass(slots=True)
class Scan:
    """What one root holds, sorted by name."""

    recordings: list[Recording] = field(default_factory=list)
    speakers: dict[str, str] = field(default_factory=dict)
    """From a manifest: recording name to speaker."""
    problems: list[str] = field(default_factory=list)
    """One line for each file that was left out, with the reason."""


def scan(root: Path, key: str, exclude: Sequence[str] = (), progress: Progress | None = None) -> Scan:
    """Scan a folder (recursively, by extension) or a JSONL manifest.

    Args:
        root: the folder or the ``.jsonl`` file.
        key: the config key that names it, for messages, e.g. ``data.speech``.
        exclude: patterns of file names, or of paths relative to the root, to leave out.
        progress: told how many headers have been read.

    Raises:
        ConfigError: there is no such folder or manifest.
        DataError: a line of the manifest is wrong.
    """
    found = Scan()
    if root.is_dir():
        base, names = root, list(_walk(root, root, set()))
    elif root.is_file() and root.suffix.lower() == ".jsonl":
        base, found.speakers = root.parent, _manifest(root)
        names = list(found.speakers)
    elif root.exists():
        raise ConfigError(f"{key}: {root}: neither a folder nor a .jsonl manifest")
    else:
        raise ConfigError(f"{key}: {root}: no such folder; correct the path or mount the disk that holds it")
    names = sorted(name for name in names if not _excluded(name, exclude))
    cache = _HeaderCache(root)
    description = f"reading headers in {root.name}"
    with ThreadPoolExecutor(_NUM_THREADS) as threads:
        headers = threads.map(lambda name: _header(base / name, cache.known.get(name)), names)
        for number, (name, header) in enumerate(zip(names, headers, strict=True), start=1):
            if isinstance(header, str):
                found.problems.append(header)
            else:
                cache.fresh[name] = header
                found.recordings.append(Recording(str(base / name), name, header[2], header[3]))
            if progress is not None and (number % 100 == 0 or number == len(names)):
                progress(number, len(names), description)
    cache.save()
    return found


def cache_folder() -> Path:
    """Return the folder for what can be computed again: $XDG_CACHE_HOME/hifitse, or ~/.cache/hifitse."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "hifitse"


def _walk(root: Path, folder: Path, above: set[tuple[int, int]]) -> Iterator[str]:
    """Yield the relative paths of audio files. Links are followed, but never back to a folder above."""
    status = folder.stat()
    if (status.st_dev, status.st_ino) in above:
        return
    above = above | {(status.st_dev, status.st_ino)}
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                yield from _walk(root, Path(entry.path), above)
            elif entry.name.lower().endswith(EXTENSIONS):
                yield Path(entry.path).relative_to(root).as_posix()


def _excluded(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) or fnmatchcase(name.rpartition("/")[2], pattern) for pattern in patterns)


def _manifest(path: Path) -> dict[str, str]:
    """Return recording name to speaker ("" where a line names none), in the order of the lines."""
    speakers: dict[str, str] = {}
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            row: Any = json.loads(line)
        except ValueError as error:
            raise DataError(f"{where}: not JSON ({error}); write one object a line") from None
        if not isinstance(row, dict) or not isinstance(row.get("path"), str) or not row["path"]:
            raise DataError(f'{where}: has no "path"; write e.g. {{"path": "a/1.flac", "speaker": "a"}}')
        speaker = row.get("speaker", "")
        if not isinstance(speaker, str):
            raise DataError(f"{where}: speaker {speaker!r} is not text; put it in quotes")
        if row["path"] in speakers:
            raise DataError(f"{where}: {row['path']} is already listed above; remove one of the two lines")
        speakers[row["path"]] = speaker
    return speakers


Header = tuple[int, int, int, int]
"""Size in bytes, time of change in ns, sample rate in Hz, number of frames."""


def _header(path: Path, known: Header | None) -> Header | str:
    """Return the header of a file, or the reason why it cannot be used."""
    try:
        status = path.stat()
    except OSError as error:
        return f"{path}: {(error.strerror or str(error)).lower()}"
    if known is not None and known[:2] == (status.st_size, status.st_mtime_ns):
        return known
    try:
        info = audio.probe(path)
    except DataError as error:
        return str(error)
    return status.st_size, status.st_mtime_ns, info.sample_rate, info.num_frames


class _HeaderCache:
    """The headers of one root, by relative path. A cache that cannot be read or written is no error."""

    def __init__(self, root: Path) -> None:
        digest = hashlib.blake2b(str(root.resolve()).encode(), digest_size=12).hexdigest()
        self._path = cache_folder() / f"headers-{digest}.json"
        self.known: dict[str, Header] = {}
        self.fresh: dict[str, Header] = {}
        try:
            stored = json.loads(self._path.read_bytes())
            if stored["version"] == _CACHE_VERSION:
                self.known = {name: _as_header(row) for name, row in stored["files"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            pass

    def save(self) -> None:
        if self.fresh == self.known:
            return
        content = json.dumps({"version": _CACHE_VERSION, "files": self.fresh})
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=self._path.parent, suffix=".tmp", delete=False) as file:
                file.write(content)
            os.replace(file.name, self._path)
        except OSError:
            pass


def _as_header(row: Any) -> Header:
    size, changed, rate, num_frames = (int(value) for value in row)
    return size, changed, rate, num_frames
