"""Recordings inside HDF5 files: how they are addressed, opened and read. Needs the extra `hdf5`.

A recording is addressed by its file and its dataset: ``/corpora/vctk.h5::p225/3``. Every read opens the file and closes
it again. With handles that are kept, scenes were rendered 5% faster; without, nothing grows over weeks, no handle or
lock is shared with threads, forked processes or writers, and a file that was replaced is noticed by the next read. Who
needs the time has `hifitse data pack`.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from hifitse.audio.resampling import rate_problem
from hifitse.errors import ConfigError, DataError

SUFFIX = ".h5"
_BETWEEN = "::"
_DEFAULT_RATE = 48000
# What h5py raises where a file is damaged depends on where it is.
DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError)
_MOST_BYTES_OF_A_CHUNK = 2**28
"""All of a chunk is in memory when any of it is read."""


def address(file: str | Path, dataset: str) -> str:
    """Return the address of a recording."""
    return f"{file}{_BETWEEN}{dataset}"


def split_address(path: str) -> tuple[str, str] | None:
    """Return file and dataset, or None if the path is not the address of a recording in an HDF5 file."""
    stem, mark, dataset = path.partition(SUFFIX + _BETWEEN)
    return (stem + SUFFIX, dataset) if mark else None


@dataclass(frozen=True, slots=True)
class PackedRecording:
    """A recording in a file that is open."""

    path: str
    sample_rate: int
    """In Hz."""
    num_frames: int
    dataset: Any
    num_channels: ClassVar[int] = 1

    def read(self, begin: int, end: int) -> npt.NDArray[np.float32]:
        """Return frames [begin, end), mono (n,); nothing else is read from the file."""
        try:
            return np.asarray(self.dataset[begin:end], np.float32)
        except DAMAGE as error:
            raise DataError(f"{self.path}: damaged ({reason(error)}); repair or remove it") from None


@contextmanager
def opened(file: str, dataset: str, changed_ns: int = 0) -> Iterator[PackedRecording]:
    """Open a recording.

    Args:
        file, dataset: as `split_address` returns them.
        changed_ns: time of change that the file had when it was scanned, in ns; 0: any.

    Raises:
        ConfigError: h5py is not installed.
        DataError: the file is missing, damaged or no longer what was scanned, or the dataset holds no recording.
    """
    path = address(file, dataset)
    with opened_file(file) as content:
        if changed_ns and os.stat(file).st_mtime_ns != changed_ns:
            raise DataError(f"{path}: its file changed since it was scanned; put it back, or start the command again")
        try:
            found = inside(content, dataset)
            problem = unusable(found)
            rate, _ = sample_rate(content)
        except DAMAGE as error:
            problem = f"damaged ({reason(error)})"
        if problem:
            raise DataError(f"{path}: {problem}; repair or remove it")
        yield PackedRecording(path, rate, len(found), found)


@contextmanager
def opened_file(file: str | Path) -> Iterator[Any]:
    """Open an HDF5 file for reading; errors are those of `opened`."""
    h5py = require_h5py(str(file))
    try:
        if Path(file).exists() and not Path(file).is_file():
            raise DataError(f"{file}: not a regular file")
        content = h5py.File(file, "r")
    except OSError as error:
        if not Path(file).exists():
            raise DataError(f"{file}: no such HDF5 file; correct the path, or put it back") from None
        raise DataError(f"{file}: not readable as HDF5 ({reason(error)}); repair or remove it") from None
    with content:
        yield content


def require_h5py(why: str) -> ModuleType:
    """Import h5py for the sake of `why`, a file or a config key.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import h5py
    except ImportError:
        raise ConfigError(f"{why}: reading HDF5 needs h5py; pip install 'hifitse[hdf5]'") from None
    module: ModuleType = h5py
    return module


def inside(content: Any, path: str) -> Any:
    """Return the object at a path of an open file, or None if there is none.

    Raises:
        ValueError: a link on the way leads elsewhere. A file that somebody sends must not have others read: what links,
            external storage and virtual datasets name are files of this machine.
    """
    import h5py

    found = content
    for part in path.split("/"):
        if not isinstance(found, h5py.Group) or part not in found:
            return None
        if not isinstance(found.get(part, getlink=True), h5py.HardLink):
            raise ValueError("a link out of its place; only what lies in the file itself is read")
        found = found[part]
    if isinstance(found, h5py.Dataset) and (found.is_virtual or found.external):
        raise ValueError("its samples are in other files; only what lies in the file itself is read")
    return found


def unusable(item: Any) -> str:
    """Return why an object of a file is no recording, or "": one is a dataset (L,) of floating-point numbers."""
    if item is None:
        return "no such dataset"
    shape, dtype = getattr(item, "shape", None), getattr(item, "dtype", None)
    if dtype is None:
        return "a group, not a dataset"
    if shape is None or len(shape) != 1:
        return f"has the shape {shape}, not one dimension"
    if dtype.kind != "f":
        return f"holds {dtype}, not floating-point numbers"
    if item.chunks and item.chunks[0] * dtype.itemsize > _MOST_BYTES_OF_A_CHUNK:
        return f"stored in chunks of {item.chunks[0] * dtype.itemsize / 2**20:,.0f} MiB"
    return "" if shape[0] else "empty"


def sample_rate(content: Any) -> tuple[int, bool]:
    """Return the sample rate of an open file in Hz, and whether the file says so itself.

    Raises:
        ValueError, TypeError: its attribute `sample_rate` is no rate.
    """
    stated = content.attrs.get("sample_rate")
    rate = _DEFAULT_RATE if stated is None else whole_number(stated)
    if rate_problem(rate):
        raise ValueError(f"sample_rate {rate}")
    return rate, stated is not None


def whole_number(attribute: Any) -> int:
    """Return an attribute that may be a number, or an array or a text of one."""
    return int(np.asarray(attribute).item())


def reason(error: Exception) -> str:
    """Return the library's words on one line, without what h5py puts around them."""
    text = " ".join(str(error).split()).strip("'\"")
    return text.partition("(")[2].rstrip(")") if text.startswith("Unable to") and "(" in text else text
