"""A list of one's own: a CSV file with the columns mixture, reference, target, and interferers where they are known.

An empty target says that the speaker is absent. A column ``speaker`` says whose the reference is; without it every
reference counts as a speaker. Paths are relative to the file.
"""

from pathlib import Path

from hifitse.errors import DataError
from hifitse.evaluation.test_sets.pairs import Pair, PairList
from hifitse.evaluation.test_sets.tables import read_table

_REQUIRED = ("mixture", "reference", "target")


def read_csv(path: Path) -> PairList:
    """Read such a list.

    Raises:
        DataError: a column is missing or unknown, or a row has no mixture or reference.
    """
    header, rows = read_table(path)
    if missing := [column for column in _REQUIRED if column not in header]:
        raise DataError(f"{path}: has no column {', '.join(missing)}; its first line must name {', '.join(_REQUIRED)}")
    for column in header:
        if column not in (*_REQUIRED, "speaker") and not column.startswith("interferer"):
            raise DataError(f"{path}: unknown column '{column}'; known: {', '.join(_REQUIRED)}, speaker, interferer...")
    pairs = []
    for number, row in enumerate(rows, 2):
        fields = dict(zip(header, row, strict=True))
        if not fields["mixture"] or not fields["reference"]:
            raise DataError(f"{path}: row {number} has no mixture or no reference; correct it")
        extra = [field for column, field in zip(header, row, strict=True) if column.startswith("interferer") and field]
        pairs.append(
            Pair(
                name=fields["mixture"],
                mixture=path.parent / fields["mixture"],
                reference=path.parent / fields["reference"],
                target=path.parent / fields["target"] if fields["target"] else None,
                speaker=fields.get("speaker") or fields["reference"],
                interferers=tuple(path.parent / field for field in extra),
            )
        )
    return PairList(path.stem, "CSV", path.parent, tuple(pairs))
