"""Files that survive a crash: whole or absent, on the disk when a function returns, held by one process at a time.

A temporary file is called ``.NAME.<random>.tmp`` and lies beside the file that it is going to be, so that the rename
stays within one file system. What a killed process has left of them is found by `remove_leftovers`.
"""

import contextlib
import errno
import fcntl
import hashlib
import io
import json
import os
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic_core import from_json

_MOST_BYTES_OF_A_RECORD = 2**28
CHECKSUM = "checksum"
"""The last key of a sealed record."""
# Read once, at the start: to read it is to set it, for all threads.
_UMASK = os.umask(0)
os.umask(_UMASK)


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary file to be written; on leaving, it is synced and gets the name ``path``.

    Where the block raises, the temporary file is removed and what was there before stays.

    Raises:
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(".tmp", f".{path.name}.", path.parent)
    os.close(descriptor)
    temporary = Path(name)
    try:
        with naming(path):
            yield temporary
            sync(temporary)
            # Some file systems and mounts know no modes.
            with contextlib.suppress(OSError):
                temporary.chmod(0o666 & ~_UMASK)
            temporary.replace(path)
            sync(path.parent)
    finally:
        # Where even this fails, the next `remove_leftovers` does it.
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let errors inside name the file: that of a write to a full disk names none by itself."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def write_text(path: Path, text: str) -> None:
    """Replace a file by one with this text."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, data: Any) -> None:
    """Replace a file by one with this data."""
    write_text(path, json.dumps(data, indent=2) + "\n")


@contextlib.contextmanager
def opened(path: Path) -> Iterator[io.BufferedReader]:
    """Open a regular file for reading: no pipe is waited for, no device is read without end.

    Raises:
        OSError: there is no such file, or it is something else than a file.
    """
    with open(path, "rb", opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        yield file


def read_bytes(path: Path, most: int = sys.maxsize) -> bytes:
    """Return the content of a regular file.

    Raises:
        OSError: it cannot be opened or read, or is larger than ``most`` bytes.
    """
    with opened(path) as file:
        if os.fstat(file.fileno()).st_size > most:
            raise OSError(errno.EFBIG, f"larger than {most / 2**20:g} MiB", str(path))
        return file.read()


def is_text(name: str) -> bool:
    """Tell whether a name can be kept and shown anywhere: it is UTF-8 on the disk, and has no NUL in it."""
    return "\0" not in name and not any("\ud800" <= char <= "\udfff" for char in name)


def write_sealed(path: Path, data: dict[str, Any], indent: int | None = 2) -> None:
    """Replace a JSON file by one with this data and its checksum: a wrong value in it would be believed."""
    write_text(path, json.dumps(data | {CHECKSUM: _checksum(data)}, indent=indent) + "\n")


def read_sealed(path: Path) -> Any:
    """Return the data of a JSON file without its checksum, which must fit; older files have none.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not JSON, or not what was written.
    """
    data = from_json(read_bytes(path, _MOST_BYTES_OF_A_RECORD))
    if isinstance(data, dict) and CHECKSUM in data and data.pop(CHECKSUM) != _checksum(data):
        raise ValueError("its checksum does not fit: a value in it was changed")
    return data


def _checksum(data: dict[str, Any]) -> str:
    text = json.dumps(data, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def sync(path: Path) -> None:
    """Make the content of a file, or the renames inside a directory, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file a second name, which takes no space; where the file system cannot, copy it."""
    with atomic_file(target) as temporary:
        temporary.unlink()
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)


def copy(source: Path, target: Path) -> None:
    """Copy a file; the copy is whole or absent."""
    with atomic_file(target) as temporary:
        shutil.copyfile(source, temporary)


def remove_folder(folder: Path) -> None:
    """Remove a folder with all in it: what is left of it after a kill is a leftover, not half a folder."""
    leftover = folder.with_name(f".{folder.name}.tmp")
    folder.replace(leftover)
    shutil.rmtree(leftover)


def remove_leftovers(folder: Path) -> list[Path]:
    """Remove what killed processes left in a folder and below: files (of safetensors, too) and folders of ours."""
    found = {*folder.rglob(".*.tmp"), *(path for path in folder.rglob(".tmp*") if not path.is_dir())}
    for path in (leftovers := sorted(found)):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    return leftovers


@contextlib.contextmanager
def locked(path: Path, *, wait: bool = False) -> Iterator[int]:
    """Hold a file or directory for this process; the lock is the operating system's, a dead process holds none.

    Args:
        path: a directory, or a file, which is made if it is not there.
        wait: wait until another process that holds it is done.

    Yields:
        The descriptor, of a file open for reading and writing.

    Raises:
        BlockingIOError: another process holds it.
    """
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT, 0o666)
    try:
        _acquire(descriptor, wait)
        yield descriptor
    finally:
        os.close(descriptor)


def is_locked(path: Path) -> bool:
    """Tell whether a live process holds a file. Takes the lock from nobody."""
    try:
        with opened(path) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _acquire(descriptor: int, wait: bool) -> None:
    if wait:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return
    for is_last in (False, False, True):
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if is_last:
                raise
            # It may be `is_locked` of another process, which holds it for an instant.
            time.sleep(0.02)
