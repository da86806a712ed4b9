"""What tools hold of a run, read by their own means, and what they should."""

import json
import sqlite3
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from hifitse.runs.records import Row, read_metrics
from hifitse.runs.run import Run

Held = list[tuple[str, int, float]]
"""Tag, step and value of every figure."""


def expected(rows: Iterable[Row]) -> Held:
    """Return what a tool should hold of these rows, as float32."""
    held = []
    for row in rows:
        data = row.model_dump(exclude={"kind", "step"})
        if row.is_validation:
            groups = {"metrics": "validation", "raw": "validation_model_weights"}
            groups["train"] = "validation_of_training_speakers"
            values = {f"{groups[key]}/{name}": value for key, part in data.items() for name, value in part.items()}
        else:
            nested = {key: part for key, part in data.items() if isinstance(part, dict) and key != "terms"}
            values = {f"train/{name}": value for name, value in {**data, **data["terms"]}.items()}
            values |= {f"train/{key}/{name}": value for key, part in nested.items() for name, value in part.items()}
        held += [(tag, row.step, float(np.float32(v))) for tag, v in values.items() if isinstance(v, int | float)]
    return sorted(held)


def in_place(run: Run) -> Held:
    """Return what a tool should hold of the branch that is in place."""
    return expected(read_metrics(run))


def in_tensorboard(folder: Path) -> Held:
    board = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    return sorted((tag, event.step, event.value) for tag in board.Tags()["scalars"] for event in board.Scalars(tag))


def in_trackio(database: Path) -> dict[str, Held]:
    """Return what each run of a project holds, by its name; a name must be there once."""
    connection = sqlite3.connect(database)
    try:
        rows = connection.execute("SELECT run_name, run_id, step, metrics FROM metrics").fetchall()
    finally:
        connection.close()
    found: dict[str, Held] = {}
    ids: dict[str, str] = {}
    for name, run_id, step, text in rows:
        assert ids.setdefault(name, run_id) == run_id, f"two runs are called {name}"
        values = json.loads(text)
        held = [(tag, step, float(np.float32(v))) for tag, v in values.items() if isinstance(v, int | float)]
        found.setdefault(name, []).extend(held)
    return {name: sorted(held) for name, held in found.items()}
