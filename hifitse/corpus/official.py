"""Official splits: which of training, validation and test each recording is of, as its corpus says.

It is said by the column ``split`` of a manifest, by the first folder of a recording's name
(``train-clean-100/19/198/...``), or by the name of the root (``/corpora/LibriSpeech/dev-clean``), in this order.
"""

from collections.abc import Sequence
from pathlib import Path

from hifitse.corpus.grouping import SetName, set_of
from hifitse.corpus.scan import Scan
from hifitse.errors import DataError

NAMES = "train, dev (or val, valid, validation), test"


def official_sets(found: Scan, root: Path) -> dict[str, SetName]:
    """Return recording name to set, of all recordings that say one.

    Raises:
        DataError: a manifest has another word for it.
    """
    sets: dict[str, SetName] = {}
    for recording in found.recordings:
        name = recording.name
        column = found.splits.get(name)
        folder, slash, _ = name.partition("/")
        stated = set_of(column) if column else (set_of(folder) if slash else None) or set_of(root.name)
        if column and stated is None:
            raise DataError(f"{root}: {name}: split {column!r} is unknown; write {NAMES}")
        if stated:
            sets[name] = stated
    return sets


def without_set(name: str) -> str:
    """Return a name without its first folder, if that says a set: the speaker's folder comes next."""
    folder, _, rest = name.partition("/")
    return rest if rest and set_of(folder) else name


def look_official(names: Sequence[str]) -> list[str]:
    """Return the first folders of the names that say a set, sorted, if they say more than one."""
    folders = sorted({name.partition("/")[0] for name in names if "/" in name})
    stated = {folder: set_of(folder) for folder in folders}
    return [folder for folder in folders if stated[folder]] if len({*stated.values()} - {None}) > 1 else []
