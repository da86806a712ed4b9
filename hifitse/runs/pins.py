"""Pins: the checkpoints that retention never deletes, in pins.json of the run, each with its reason."""

import datetime
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hifitse.errors import CheckpointError, UsageError
from hifitse.runs.run import Run, write_text

Pins = dict[int, dict[str, Any]]
"""Step to reason and time."""


def read_pins(run: Run) -> Pins:
    """Return the pins of a run, ascending by step.

    Raises:
        CheckpointError: the file cannot be read.
    """
    try:
        pins = json.loads(run.pins_path.read_text()) if run.pins_path.exists() else {}
        return {int(step): dict(pins[step]) for step in sorted(pins, key=int)}
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"{run.pins_path}: unreadable ({error}); remove it and pin again") from error


def pin(run: Run, step: int, reason: str) -> None:
    """Keep the checkpoint of a step from retention; pinning it again replaces the reason."""
    time = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    with deciding(run):
        _require_checkpoint(run, step)
        _write(run, read_pins(run) | {step: {"reason": reason, "time": time}})


def unpin(run: Run, step: int) -> None:
    """Take a pin away.

    Raises:
        UsageError: there is none.
    """
    with deciding(run):
        pins = read_pins(run)
        if step not in pins:
            listed = f"pinned: {', '.join(map(str, pins))}" if pins else "the run has no pins"
            raise UsageError(f"{run.path}: step {step} is not pinned; {listed}")
        _write(run, {other: pins[other] for other in pins if other != step})


@contextmanager
def deciding(run: Run) -> Iterator[None]:
    """Hold off other processes that pin or delete checkpoints; a training may go on meanwhile."""
    descriptor = os.open(run.path / "checkpoints", os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _require_checkpoint(run: Run, step: int) -> None:
    if not run.checkpoint_path(step).exists():
        raise UsageError(f"{run.path}: there is no checkpoint of step {step} any more; hifitse runs lists what is left")


def _write(run: Run, pins: Pins) -> None:
    write_text(run.pins_path, json.dumps({str(step): pins[step] for step in sorted(pins)}, indent=2) + "\n")
