"""The records of a run: its JSON files, each with a type. What cannot be read is an error with file and remedy.

A record whose wrong value would be believed is sealed: it ends with its checksum, see `hifitse.storage`. Rows of logs
have none: nothing is chosen or deleted by what they say, a row that was damaged is left out, and a validation without
its row is repeated.

Their names and keys are those of the first version of hifitse, so that old runs and scripts keep working: a row of
``metrics.jsonl`` about a validation is of the kind ``exam``.
"""

import datetime
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, RootModel, ValidationError

from hifitse import json_log, storage
from hifitse.config.section import MAX_STEP, MetricName
from hifitse.errors import RecordError, UsageError, reason
from hifitse.runs.run import Run

Step = Annotated[int, Field(ge=0, le=MAX_STEP, strict=True)]
"""Completed steps."""
Finite = Annotated[float, Field(allow_inf_nan=False, strict=True)]


class Record(BaseModel):
    """Base of every record."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Best(Record):
    """best.json: what select-best chose."""

    step: Step
    metric: MetricName | Annotated[str, Field(pattern=r"^tp_[a-z0-9_]+$", max_length=100)]
    """The second kind: one of `hifitse.perceptual`."""
    value: Finite
    average: Annotated[str, Field(pattern=r"^[0-9]{8}_[0-9a-f]{8}$")] | None = None
    """Name of the weight average that it is, see `Run.average_path`, whose newest checkpoint is that of the step."""


class Origin(Record):
    """origin.json: where a fork, an import or a training with --init began."""

    source: str
    """The run, or the file, that it was made from."""
    step: Step
    digest: str
    """Of that checkpoint."""


class Pin(Record):
    """An entry of pins.json: a checkpoint that retention never deletes."""

    reason: str = ""
    time: str = ""


class _Pins(RootModel[dict[Annotated[int, Field(ge=0, le=MAX_STEP)], Pin]]):
    """pins.json: by step."""


class Row(Record):
    """A row of metrics.jsonl or events.jsonl; what else is in it depends on its kind."""

    model_config = ConfigDict(frozen=True, extra="allow")

    kind: str
    step: Step

    @property
    def is_validation(self) -> bool:
        return self.kind == "exam"

    def get(self, key: str) -> Any:
        """Return what the row says under a key of its kind, or None."""
        return (self.model_extra or {}).get(key)


R = TypeVar("R", bound=BaseModel)


def read_record(path: Path, record: type[R], remedy: str) -> R:
    """Read a JSON file as a record.

    Raises:
        RecordError: it is missing, unreadable, damaged or of another shape; the message ends with the remedy.
    """
    try:
        return record.model_validate(storage.read_sealed(path))
    except (OSError, ValueError) as error:
        raise RecordError(f"{path}: unreadable ({reason(error)}); {remedy}") from error


def write_record(path: Path, record: Record) -> None:
    """Replace a JSON file by one with this record, sealed."""
    storage.write_sealed(path, record.model_dump())


def read_best(run: Run) -> Best | None:
    """Return what select-best chose, or None.

    Raises:
        RecordError: the file cannot be read.
    """
    if not os.path.lexists(run.best_path):
        return None
    return read_record(run.best_path, Best, f"remove it and repeat hifitse select-best --run {run.argument}")


def read_origin(run: Run) -> Origin | None:
    """Return where a fork or an import began, or None."""
    if not os.path.lexists(run.origin_path):
        return None
    return read_record(run.origin_path, Origin, "write where the run comes from into it, or remove it")


def read_metrics(run: Run) -> list[Row]:
    """Return the rows of the metrics log; lines cut by a crash, and rows of something else, are left out."""
    return _rows(run.metrics_path)


def exact_metrics(run: Run) -> list[dict[str, Any]]:
    """Return the rows without what is of the machine and the hour: the same, to the bit, however a run was resumed."""
    return [row.model_dump(exclude={"machine"}) for row in read_metrics(run)]


def write_metrics(run: Run, rows: Iterable[Row]) -> None:
    """Replace the metrics log."""
    storage.write_text(run.metrics_path, json_log.json_lines(row.model_dump() for row in rows))


def read_events(run: Run) -> list[Row]:
    """Return what happened to the run, oldest first."""
    return _rows(run.events_path)


def is_validated(run: Run, step: int) -> bool:
    """Tell whether the validation of a step is complete: a killed one may have left its result without its row."""
    return run.validation_path(step).exists() and any(
        row.step == step and row.is_validation for row in read_metrics(run)
    )


def _rows(path: Path) -> list[Row]:
    rows = []
    for data in json_log.read_rows(path):
        try:
            rows.append(Row.model_validate(data))
        except ValidationError:
            continue
    return rows


def read_pins(run: Run) -> dict[int, Pin]:
    """Return the pins of a run, ascending by step.

    Raises:
        RecordError: the file cannot be read.
    """
    if not os.path.lexists(run.pins_path):
        return {}
    return dict(sorted(read_record(run.pins_path, _Pins, "remove it and pin again").root.items()))


def pin(run: Run, step: int, reason: str) -> None:
    """Keep the checkpoint of a step from retention; pinning it again replaces the reason.

    Raises:
        UsageError: there is no such checkpoint.
    """
    time = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    with run.checkpoints_held():
        if not run.checkpoint_path(step).exists():
            raise UsageError(
                f"{run.path}: there is no checkpoint of step {step} any more; hifitse runs lists what is left"
            )
        _write_pins(run, read_pins(run) | {step: Pin(reason=reason, time=time)})


def unpin(run: Run, step: int) -> None:
    """Take a pin away.

    Raises:
        UsageError: there is none.
    """
    with run.checkpoints_held():
        pins = read_pins(run)
        if step not in pins:
            listed = f"pinned: {', '.join(map(str, pins))}" if pins else "the run has no pins"
            raise UsageError(f"{run.path}: step {step} is not pinned; {listed}")
        _write_pins(run, {other: pins[other] for other in pins if other != step})


def _write_pins(run: Run, pins: dict[int, Pin]) -> None:
    storage.write_sealed(run.pins_path, {str(step): pins[step].model_dump() for step in sorted(pins)})
