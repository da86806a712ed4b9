"""What an HDF5 corpus holds: the layouts of packed speech, noise and impulse responses.

Speech: a dataset ``speaker_ids``, and a group for each of them. Noise: one group, the root. Impulse responses: a
group for each source. A group has the attribute ``count``, the recordings ``0`` to ``count - 1``, and maybe
``filenames`` and ``durations``.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
from pydantic import TypeAdapter

from hifitse.audio import hdf5
from hifitse.audio.header_cache import HeaderCache
from hifitse.storage import is_text

Layout = Literal["speech", "noise", "rir"]
# What is beyond these is damage, not a corpus.
_MOST_IN_A_GROUP = 10**7
_MOST_MISSING = 1000


@dataclass(frozen=True, slots=True)
class Entry:
    """One recording of a file."""

    dataset: str
    """Where it is in the file: ``p225/3``."""
    name: str
    """What a folder tree would call it: ``p225/p225_004.flac``, or ``p225/000003`` where the file has no names."""
    speaker: str
    """Empty for noise and impulse responses."""
    num_frames: int


@dataclass(slots=True)
class Listing:
    """All recordings of a file, in no particular order."""

    sample_rate: int
    entries: list[Entry] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """What was left out, each beginning with its place in the file."""
    states_rate: bool = True
    """False: the file has no attribute `sample_rate`."""


_STAMPED = TypeAdapter(tuple[tuple[int, int], Listing])
"""A listing with the size and the time of change of its file."""


def list_once(file: Path, layout: Layout, progress: Callable[[int, int], None] | None = None) -> tuple[Listing, int]:
    """Return `list_file` and the file's time of change in ns; kept while the file has the same size and time."""
    status = file.stat()
    stamp = status.st_size, status.st_mtime_ns
    cache = HeaderCache(file, f"packed-{layout}", _STAMPED)
    if cache.content and cache.content[0] == stamp:
        return cache.content[1], status.st_mtime_ns
    listing = list_file(file, layout, progress)
    cache.save((stamp, listing))
    return listing, status.st_mtime_ns


def list_file(file: str | Path, layout: Layout, progress: Callable[[int, int], None] | None = None) -> Listing:
    """List the recordings of a file; no samples are read.

    Args:
        file: the HDF5 file.
        layout: of which kind it is.
        progress: called with how many groups of how many are done.

    Raises:
        ConfigError: h5py is not installed.
        DataError: it is no HDF5 file, or a damaged one.
    """
    with hdf5.opened_file(file) as content:
        try:
            rate, states_rate = hdf5.sample_rate(content)
        except hdf5.DAMAGE as error:
            return Listing(0, problems=[f"/: no usable attribute sample_rate ({hdf5.reason(error)})"])
        listing = Listing(rate, states_rate=states_rate)
        try:
            names = list(_groups(content, layout))
        except hdf5.DAMAGE as error:
            listing.problems.append(f"/: no {layout} corpus ({hdf5.reason(error)})")
            return listing
        for number, name in enumerate(names, start=1):
            try:
                _list_group(content, name, layout, listing)
            except hdf5.DAMAGE as error:
                listing.problems.append(f"{name or '/'}: damaged ({hdf5.reason(error)})")
            if progress is not None:
                progress(number, len(names))
    return listing


def _groups(content: Any, layout: Layout) -> Iterator[str]:
    """Yield the names of the groups that hold recordings; "" is the root."""
    if layout == "noise":
        yield ""
    elif layout == "speech":
        yield from dict.fromkeys(_texts(content, "speaker_ids"))
    else:
        for name in content:
            try:
                item = hdf5.inside(content, name)
            except ValueError:
                yield name
            else:
                # A source without `count` is one of which nothing was usable when the file was made.
                if hasattr(item, "items") and "count" in item.attrs:
                    yield name


def _list_group(content: Any, group: str, layout: Layout, listing: Listing) -> None:
    items = hdf5.inside(content, group) if group else content
    if not hasattr(items, "items"):
        listing.problems.append(f"{group}: is in speaker_ids, but there is no such group")
        return
    count = hdf5.whole_number(items.attrs.get("count", 0))
    if not 0 < count <= _MOST_IN_A_GROUP:
        stated = f"count is {count}" if "count" in items.attrs else "has no attribute count"
        listing.problems.append(f"{group or '/'}: {stated}")
        return
    if count > _MOST_MISSING + len(items):
        listing.problems.append(f"{group or '/'}: count is {count}, but there are only {len(items)} objects")
        return
    names = _names(items, group, count)
    durations = _values(items, "durations").tolist() if "durations" in items else []
    for number in range(count):
        dataset = f"{group}/{number}" if group else str(number)
        try:
            item = hdf5.inside(items, str(number))
            problem = hdf5.unusable(item)
        except hdf5.DAMAGE as error:
            problem = hdf5.reason(error)
        if not problem and not is_text(names[number]):
            problem = "its name is not UTF-8"
        if not problem and len(durations) == count and len(item) < durations[number]:
            problem = f"cut short: {len(item)} samples, {durations[number]} in durations"
        if problem:
            listing.problems.append(f"{dataset}: {problem}")
        else:
            speaker = group if layout == "speech" else ""
            listing.entries.append(Entry(dataset, names[number], speaker, len(item)))


def _names(items: Any, group: str, count: int) -> list[str]:
    """Return the names of a group's recordings: those of the files that they were made from, if these differ."""
    prefix = f"{group}/" if group else ""
    given = _texts(items, "filenames") if "filenames" in items else []
    names = [prefix + _below(filename, group) for filename in given]
    if len(names) == len(set(names)) == count:
        return names
    return [f"{prefix}{number:06d}" for number in range(count)]


def _below(filename: str, group: str) -> str:
    """Return the part of a file's path below the folder of its group, for no name may depend on the machine."""
    parts = PurePosixPath(filename.replace("\\", "/")).parts
    if group in parts[:-1]:
        last = len(parts) - 2 - parts[:-1][::-1].index(group)
        return "/".join(parts[last + 1 :])
    return parts[-1] if parts[:1] == ("/",) else "/".join(parts)


def _texts(group: Any, name: str) -> list[str]:
    values = np.atleast_1d(_values(group, name))
    return [text.decode(errors="replace") if isinstance(text, bytes) else str(text) for text in values]


def _values(group: Any, name: str) -> Any:
    """Return the content of a dataset beside the recordings of a group."""
    dataset = hdf5.inside(group, name)
    if getattr(dataset, "size", None) is None or dataset.size > _MOST_IN_A_GROUP:
        raise ValueError(f"{name} is no list of at most {_MOST_IN_A_GROUP}")
    return dataset[()]
