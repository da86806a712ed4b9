"""Find recordings in folders, manifests and HDF5 files, and read their headers once.

A large tree has 100 000 files. Their headers are read by a few threads, and what they say is kept in
the cache folder for as long as a file keeps its size and its time of change.
"""

import os
import stat
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, cast

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from hifitse.audio import hdf5, hdf5_index
from hifitse.audio.files import probe_audio
from hifitse.audio.header_cache import HeaderCache
from hifitse.audio.recording import Recording
from hifitse.errors import ConfigError, DataError, reason
from hifitse.storage import is_text, read_bytes

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
    splits: dict[str, str] = field(default_factory=dict)
    """From a manifest: recording name to what its line says of an official split."""
    problems: list[str] = field(default_factory=list)
    """One line for each recording that was left out, with the reason."""
    notes: list[str] = field(default_factory=list)
    """What a person should know besides."""


def scan(root: Path, key: str, exclude: Sequence[str] = (), progress: Progress | None = None) -> Scan:
    """Scan a folder (recursively, by extension), a JSONL manifest or an HDF5 file.

    Args:
        root: the folder, the ``.jsonl`` or the ``.h5`` file.
        key: the config key that names it, for messages, e.g. ``data.speech``; its end says the layout of an HDF5 file.
        exclude: patterns of file names, or of paths relative to the root, to leave out.
        progress: called with how many headers have been read.

    Raises:
        ConfigError: there is no such folder or file, or h5py is needed and not installed.
        DataError: a line of the manifest is wrong.
    """
    found = Scan()
    if root.is_dir():
        paths = {name: name for name in _walk(root, found.problems)}
        _scan_files(found, root, root, paths, exclude, progress)
    elif root.is_file() and root.suffix.lower() == ".jsonl":
        lines = _manifest(root)
        paths = {name: line.path for name, line in lines.items()}
        found.speakers = {name: line.speaker for name, line in lines.items()}
        found.splits = {name: line.split for name, line in lines.items() if line.split}
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
    cache = HeaderCache(root, "headers", _HEADERS)
    known, fresh = cache.content or {}, {}
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
    cache.save(fresh)


def _scan_packed(found: Scan, root: Path, key: str, exclude: Sequence[str], progress: Progress | None) -> None:
    """Add what an HDF5 file holds."""
    layout = cast(hdf5_index.Layout, key.rpartition(".")[2])

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


def _walk(root: Path, problems: list[str]) -> Iterator[str]:
    """Yield the relative paths of audio files.

    Links to folders are followed, but no folder is looked into twice, and where it lies itself counts more than where a
    link to it does. So links that lead up, or to each other, end.

    Args:
        problems: a line is added for each folder that cannot be listed, and for each name that is no text.
    """
    folders, linked = deque([root]), deque[Path]()
    seen: set[tuple[int, int]] = set()
    while folders or linked:
        folder = folders.popleft() if folders else linked.popleft()
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            problems.append(f"{folder}: {reason(error).lower()}")
            continue
        for entry in entries:
            if entry.name.startswith("."):
                continue
            is_folder = _is_folder(entry)
            if not is_folder and not entry.name.lower().endswith(EXTENSIONS):
                continue
            if not is_text(entry.name):
                problems.append(f"{entry.path}: its name is not UTF-8; rename it")
            elif is_folder:
                (linked if entry.is_symlink() else folders).append(Path(entry.path))
            else:
                yield Path(entry.path).relative_to(root).as_posix()


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        # A link to itself, or to what may not be looked at: if it has the name of a recording, its header says so.
        return False


def _excluded(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) or fnmatchcase(name.rpartition("/")[2], pattern) for pattern in patterns)


class _Line(BaseModel):
    """A line of a manifest; what else is in it is somebody else's."""

    model_config = ConfigDict(strict=True)

    path: Annotated[str, Field(min_length=1)]
    speaker: str = ""
    name: str = ""
    split: str = ""

    @field_validator("split", mode="before")
    @classmethod
    def _or_none(cls, value: object) -> object:
        """Without data.split: official, it may be anything."""
        return value if isinstance(value, str) else ""


def _manifest(path: Path) -> dict[str, _Line]:
    """Return recording name to line, in the order of the lines."""
    lines: dict[str, _Line] = {}
    for number, text in enumerate(read_bytes(path).splitlines(), start=1):
        if not text.strip():
            continue
        try:
            line = _Line.model_validate_json(text)
        except ValidationError as error:
            raise DataError(
                f"{path}:{number}: {reason(error)}; write one object a line, e.g. "
                '{"path": "a/1.flac", "speaker": "a"}'
            ) from None
        name = line.name or line.path
        if not all(map(is_text, (line.path, line.speaker, name))):
            raise DataError(f"{path}:{number}: {name}: has a NUL in it; correct the line")
        if name in lines:
            raise DataError(f"{path}:{number}: {name} is already listed above; remove one of the two lines")
        lines[name] = line
    return lines


_Number = Annotated[int, Field(ge=0, lt=2**63, strict=True)]
Header = tuple[_Number, _Number, _Number, _Number]
"""Size in bytes, time of change in ns, sample rate in Hz, number of frames."""
_HEADERS = TypeAdapter(dict[str, Header])


def _header(path: Path, known: Header | None) -> Header | str:
    """Return the header of a file, or the reason why it cannot be used."""
    try:
        status = path.stat()
    except OSError as error:
        return f"{path}: {reason(error).lower()}"
    if not stat.S_ISREG(status.st_mode):
        return f"{path}: not a regular file"
    if known is not None and known[:2] == (status.st_size, status.st_mtime_ns):
        return known
    try:
        info = probe_audio(path)
    except DataError as error:
        return str(error)
    return status.st_size, status.st_mtime_ns, info.sample_rate, info.num_frames
