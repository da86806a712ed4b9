"""Find recordings in folders, manifests and HDF5 files, and read their headers once.

A large tree has 100 000 files. Their headers are read by a few threads, and what they say is kept in
the cache folder for as long as a file keeps its size and its time of change.
"""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, cast

from hifitse.audio import hdf5, hdf5_index
from hifitse.audio.files import probe_audio
from hifitse.audio.header_cache import HeaderCache
from hifitse.audio.recording import Recording
from hifitse.errors import ConfigError, DataError

Progress = Callable[[int, int, str], None]
"""Called with (files done, files in all, what is being scanned)."""

EXTENSIONS = (".wav", ".flac", ".ogg", ".mp3")
_NUM_THREADS = 8


@dataclass(slots=True)
class Scan:
    """What one root holds, sorted by name."""

    recordings: list[Recording] = field(default_factory=list)
    speakers: dict[str, str] = field(default_factory=dict)
    """From a manifest or an HDF5 file: recording name to speaker."""
    problems: list[str] = field(default_factory=list)
    """One line for each recording that was left out, with the reason."""
    notes: list[str] = field(default_factory=list)
    """What a person should know besides."""


def scan(root: Path, key: str, exclude: Sequence[str] = (), progress: Progress | None = None) -> Scan:
    """Scan a folder (recursively, by extension), a JSONL manifest or an HDF5 file.

    Args:
        root: the folder, the ``.jsonl`` or the ``.h5`` file.
        key: the config key that names it, for messages, e.g. ``data.speech``; it decides the layout of an HDF5 file.
        exclude: patterns of file names, or of paths relative to the root, to leave out.
        progress: called with how many headers have been read.

    Raises:
        ConfigError: there is no such folder or file, or h5py is needed and not installed.
        DataError: a line of the manifest is wrong.
    """
    found = Scan()
    if root.is_dir():
        paths = {name: name for name in _walk(root, root, set())}
        _scan_files(found, root, root, paths, exclude, progress)
    elif root.is_file() and root.suffix.lower() == ".jsonl":
        paths, found.speakers = _manifest(root)
        _scan_files(found, root, root.parent, paths, exclude, progress)
    elif root.is_file() and root.suffix == hdf5.SUFFIX:
        hdf5.require_h5py(f"{key}: {root}")
        _scan_packed(found, root, key, exclude, progress)
    elif root.exists():
        raise ConfigError(f"{key}: {root}: neither a folder nor a .jsonl manifest nor an .h5 file")
    else:
        what = "file" if root.suffix in (".jsonl", hdf5.SUFFIX) else "folder"
        raise ConfigError(
            f"{key}: {root}: no such {what}; correct the path (in a file it is relative to the file's folder, in --set "
            "to the working directory) or mount the disk that holds it"
        )
    return found


def _scan_files(
    found: Scan, root: Path, base: Path, paths: dict[str, str], exclude: Sequence[str], progress: Progress | None
) -> None:
    """Read the headers of files; `paths` goes from a recording's name to its path relative to `base`."""
    names = sorted(name for name in paths if not _excluded(name, exclude))
    cache = HeaderCache(root, "headers")
    known, fresh = _as_headers(cache.content), {}
    description = f"reading headers in {root.name}"
    with ThreadPoolExecutor(_NUM_THREADS) as threads:
        headers = threads.map(lambda name: _header(base / paths[name], known.get(name)), names)
        for number, (name, header) in enumerate(zip(names, headers, strict=True), start=1):
            if isinstance(header, str):
                found.problems.append(header)
            else:
                fresh[name] = header
                found.recordings.append(Recording(str(base / paths[name]), name, header[2], header[3]))
            if progress is not None and (number % 100 == 0 or number == len(names)):
                progress(number, len(names), description)
    cache.save({name: list(header) for name, header in fresh.items()})


def _scan_packed(found: Scan, root: Path, key: str, exclude: Sequence[str], progress: Progress | None) -> None:
    """Add what an HDF5 file holds."""
    layout = cast(hdf5_index.Layout, key.removeprefix("data."))

    def report(done: int, total: int) -> None:
        if progress is not None:
            progress(done, total, f"reading headers in {root.name}")

    try:
        listing, changed_ns = hdf5_index.list_once(root, layout, report)
    except DataError as error:
        found.problems.append(str(error))
        return
    for entry in sorted(listing.entries, key=lambda entry: entry.name):
        if not _excluded(entry.name, exclude):
            address = hdf5.address(root, entry.dataset)
            found.recordings.append(Recording(address, entry.name, listing.sample_rate, entry.num_frames, changed_ns))
            found.speakers[entry.name] = entry.speaker
    found.problems += [hdf5.address(root, problem) for problem in listing.problems]
    if not listing.states_rate:
        found.notes.append(f"{root} has no attribute sample_rate; taken as {listing.sample_rate} Hz")


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


def _manifest(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Return recording name to path, and to speaker ("" where a line names none), in the order of the lines."""
    paths: dict[str, str] = {}
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
        row = {"speaker": "", "name": row["path"], **row}
        for key in ("speaker", "name"):
            if not isinstance(row[key], str):
                raise DataError(f"{where}: {key} {row[key]!r} is not text; put it in quotes")
        name = row["name"]
        if name in paths:
            raise DataError(f"{where}: {name} is already listed above; remove one of the two lines")
        paths[name], speakers[name] = row["path"], row["speaker"]
    return paths, speakers


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
        info = probe_audio(path)
    except DataError as error:
        return str(error)
    return status.st_size, status.st_mtime_ns, info.sample_rate, info.num_frames


def _as_headers(content: Any) -> dict[str, Header]:
    try:
        return {name: _as_header(row) for name, row in content.items()}
    except (AttributeError, ValueError, TypeError):
        return {}


def _as_header(row: Any) -> Header:
    size, changed, rate, num_frames = (int(value) for value in row)
    return size, changed, rate, num_frames
