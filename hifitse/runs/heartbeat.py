"""The heartbeat of a training, heartbeat.json: where it is, replaced every few seconds, removed at an orderly end.

It is for people in other terminals and on other machines: nothing is learnt or resumed from it, so a write that fails
is left out, and nothing waits for the disk.
"""

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from pydantic import Field

from hifitse.errors import RecordError
from hifitse.runs.records import Finite, Record, Step, read_record
from hifitse.runs.run import Run

SECONDS = 3.0
"""Between two beats."""
STALE_SECONDS = 60.0
"""Without a beat for that long, a training is dead, stuck, or cannot write."""


class Heartbeat(Record):
    """Where a training is."""

    time: Finite
    """When it was written, in seconds since 1970."""
    host: str
    process: int
    device: str
    first_step: Step
    """Where this process began."""
    step: Step
    stop_at: Step
    """Where it is going to end."""
    total_steps: Step
    phase: str = ""
    activity: Literal["starting", "training", "validating"] = "starting"
    num_validated: int = Field(default=0, ge=0)
    """Scenes of the validation in progress that are done, of ``num_scenes``."""
    num_scenes: int = Field(default=0, ge=0)
    means: dict[str, float] = {}
    """Over the last steps: loss, grad_norm, rms_ratio, ta_energy_db, ``terms.NAME``, ``weighted_terms.NAME``."""
    scenes_per_second: float = 0.0
    wait_share: float = 0.0
    """Of the time of those steps, the part spent waiting for scenes."""
    remaining_seconds: float | None = None
    """Until ``stop_at``, validations not counted; None: not known yet."""
    peak_memory_bytes: int = 0

    @property
    def age_seconds(self) -> float:
        return max(time.time() - self.time, 0.0)

    @property
    def is_fresh(self) -> bool:
        return self.age_seconds < STALE_SECONDS


def read_heartbeat(run: Run) -> Heartbeat | None:
    """Return the last heartbeat of a training that goes on, or ended without a word; None if there is none."""
    if not os.path.lexists(run.heartbeat_path):
        return None
    try:
        return read_record(run.heartbeat_path, Heartbeat, "it is written anew by the next training")
    except RecordError:
        return None


class Pulse:
    """Writes what ``latest`` returns, in a thread; a context, on leaving which the file is removed."""

    def __init__(self, run: Run, latest: Callable[[], Heartbeat]) -> None:
        self.run, self.latest = run, latest
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> "Pulse":
        self._write()
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join()
        with contextlib.suppress(OSError):
            self.run.heartbeat_path.unlink(missing_ok=True)
            self._new_path.unlink(missing_ok=True)

    @property
    def _new_path(self) -> Path:
        # Not in the form of leftovers: those are removed while this thread writes.
        return self.run.heartbeat_path.with_suffix(".new")

    def _beat(self) -> None:
        while not self.over.wait(SECONDS):
            self._write()

    def _write(self) -> None:
        beat = self.latest().model_copy(update={"time": round(time.time(), 3)})
        path = self.run.heartbeat_path
        # Not synced: after a power cut there is no training anyway.
        temporary = self._new_path
        with contextlib.suppress(OSError):
            temporary.write_text(json.dumps(beat.model_dump()) + "\n")
            temporary.replace(path)
