"""The figures of each pair, in a file that is only appended to: an evaluation that was interrupted goes on behind it.

``pairs.jsonl``: the first line says what is evaluated, each one after it is a pair.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from hifitse.errors import RecordError, UsageError
from hifitse.json_log import append_bytes, json_lines
from hifitse.metrics import Sample
from hifitse.storage import naming, read_bytes, write_text


@dataclass(frozen=True)
class PairResult:
    """What was measured of one pair."""

    name: str
    sample: Sample
    """Its index is the place in the list."""
    notes: tuple[str, ...]
    """Why a figure is no ordinary one."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> "PairResult":
        return cls(**{**row, "sample": Sample(**row["sample"]), "notes": tuple(row["notes"])})


class PairFile:
    """``pairs.jsonl`` of an evaluation."""

    def __init__(self, path: Path, header: dict[str, Any]) -> None:
        """Open the file, or begin it.

        Raises:
            UsageError: it holds another evaluation.
            RecordError: it is damaged.
        """
        self.path = path
        found, self.done = read_pairs(path) if path.exists() else (None, [])
        if found is None:
            write_text(path, json_lines([header]))
        elif found != header:
            raise UsageError(
                f"{path}: holds another evaluation (of another model, list, device or other metrics); "
                "name another folder with --output, or remove this one"
            )

    def keep(self, num_pairs: int) -> None:
        """Cut off what is behind so many pairs: a batch of which a part is missing is done again as a whole."""
        self.done = self.done[:num_pairs]
        lines = read_bytes(self.path).splitlines(keepends=True)
        with naming(self.path), self.path.open("r+b") as file:
            file.truncate(sum(map(len, lines[: num_pairs + 1])))

    def append(self, results: Sequence[PairResult]) -> None:
        append_bytes(self.path, json_lines(result.to_json() for result in results).encode())
        self.done += results


def read_pairs(path: Path) -> tuple[dict[str, Any] | None, list[PairResult]]:
    """Return the header of a ``pairs.jsonl``, None if it has none yet, and the pairs that are whole.

    Raises:
        RecordError: it is damaged.
    """
    # What a kill has cut is done again.
    whole, _, _ = read_bytes(path).rpartition(b"\n")
    first, *lines = whole.splitlines() or [b""]
    try:
        return from_json(first) if first else None, [PairResult.from_json(from_json(line)) for line in lines]
    except (ValueError, KeyError, TypeError) as error:
        raise RecordError(f"{path}: damaged ({error}); remove it, and evaluate again") from None


def csv_of(results: Sequence[PairResult]) -> str:
    """Return a table with a row for each pair, in the order given."""
    samples = [result.sample for result in results]
    plain = [field.name for field in fields(Sample) if field.name != "perceptual"]
    measured = [name for name in plain if any(getattr(sample, name) is not None for sample in samples)]
    perceptual = list(dict.fromkeys(name for sample in samples for name in sample.perceptual or ()))
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["name", *measured, *perceptual, "notes"])
    for result in results:
        values = [getattr(result.sample, name) for name in measured]
        values += [(result.sample.perceptual or {}).get(name) for name in perceptual]
        writer.writerow([result.name, *values, "; ".join(result.notes)])
    return text.getvalue()
