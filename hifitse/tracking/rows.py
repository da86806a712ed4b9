"""Rows of metrics.jsonl as tools show them: a number for each tag."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from hifitse.json_log import Row

_GROUPS = {"metrics": "validation", "raw": "validation_model_weights", "train": "validation_of_training_speakers"}
"""Of a row about a validation, see `hifitse.runs.records`."""


@dataclass(frozen=True)
class Figures:
    """A row of metrics.jsonl."""

    step: int
    values: dict[str, float]
    """By tag: train/loss, validation/tp_si_sdr."""
    digest: str
    """Of the whole row."""


def figures(row: Row) -> Figures | None:
    """Return a row of metrics.jsonl by tags; None if it is something else."""
    kind, step = row.get("kind"), row.get("step")
    if not (isinstance(kind, str) and isinstance(step, int)):
        return None
    values: dict[str, float] = {}
    for name, value in row.items():
        if name == "step":
            continue
        if kind == "exam":
            values |= _numbers(value, _GROUPS.get(name, f"validation/{name}"))
        else:
            # Terms of the loss stand beside it.
            values |= _numbers(value, "train" if name == "terms" else f"train/{name}")
    digest = hashlib.blake2b(json.dumps(row, sort_keys=True).encode(), digest_size=8).hexdigest()
    return Figures(step, values, digest)


def _numbers(value: Any, tag: str) -> dict[str, float]:
    """Return the numbers in a value, by tags below this one."""
    if isinstance(value, dict):
        return {
            key: number for name, below in value.items() for key, number in _numbers(below, f"{tag}/{name}").items()
        }
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return {tag: value} if is_number else {}
