"""What is known about the runs in a folder, from their files alone. A damaged or half-made run is listed as such."""

import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from hifitse.config.parsing.yaml import MOST_BYTES, read_yaml
from hifitse.errors import reason
from hifitse.runs.heartbeat import Heartbeat, read_heartbeat
from hifitse.runs.records import Best, Origin, Pin, Row, Step, read_best, read_events, read_origin, read_pins
from hifitse.runs.run import Run
from hifitse.storage import opened, read_bytes

T = TypeVar("T")
_STEP: TypeAdapter[int] = TypeAdapter(Step)

_ENDS = ("finished", "paused", "interrupted", "stopped", "failed")


@dataclass
class Summary:
    """What a run says about itself."""

    path: Path
    state: str = "unknown"
    """training, finished, paused, interrupted, stopped, failed (its process is gone without a word), empty, unknown."""
    guard: str | None = None
    """The guard that stopped it."""
    step: int = 0
    """Completed steps, as far as they are on the disk; of a training that goes on, all of them."""
    total_steps: int | None = None
    best: Best | None = None
    """What select-best chose."""
    checkpoints: list[int] = field(default_factory=list)
    pins: dict[int, Pin] = field(default_factory=dict)
    abandoned: list[str] = field(default_factory=list)
    """Numbers of the archived branches."""
    origin: Origin | None = None
    """What a fork, an import or a training with --init began with."""
    beat: Heartbeat | None = None
    """Where the training is that goes on, or was when it ended without a word."""
    last_activity: float = 0.0
    """When a file of the run last changed, in seconds since 1970."""
    files: dict[tuple[int, int], int] = field(default_factory=dict)
    """Device and inode of each file, and its size; a hard link is there once."""
    problems: list[str] = field(default_factory=list)
    """What could not be read."""

    def to_json(self) -> dict[str, Any]:
        records = {
            "best": self.best and self.best.model_dump(),
            "pins": {step: pin.model_dump() for step, pin in self.pins.items()},
            "origin": self.origin and self.origin.model_dump(),
            "beat": self.beat and self.beat.model_dump(),
        }
        data = {**vars(self), **records, "path": str(self.path), "size_bytes": sum(self.files.values())}
        del data["files"]
        return data


def summarize(path: Path) -> Summary:
    """Read what a run says about itself; what cannot be read is named in ``problems``. Changes nothing."""
    run, summary = Run(path), Summary(path)

    def attempt(what: str, read: Callable[[], T], otherwise: T) -> T:
        try:
            return read()
        # Whatever a half-written file leads to: the other runs are to be listed, and this one with its problem.
        except Exception as error:
            summary.problems.append(f"{what} cannot be read: {type(error).__name__}: {reason(error)}")
            return otherwise

    summary.checkpoints = attempt("checkpoints", run.checkpoint_steps, [])
    logged = attempt("metrics.jsonl", lambda: _last_logged_step(run.metrics_path), 0)
    summary.beat = read_heartbeat(run)
    summary.step = max([logged, *summary.checkpoints, *([summary.beat.step] if summary.beat else [])])
    summary.total_steps = attempt("config.yaml", lambda: _total_steps(run), None)
    summary.best = attempt("best.json", lambda: read_best(run), None)
    summary.pins = attempt("pins.json", lambda: read_pins(run), {})
    summary.abandoned = attempt("abandoned", lambda: [folder.name for folder in run.archived_folders()], [])
    summary.origin = attempt("origin.json", lambda: read_origin(run), None)
    is_training = attempt("lock", lambda: is_trained(run, summary.beat), False)
    events: list[Row] = attempt("events.jsonl", lambda: read_events(run), [])
    summary.state, summary.guard = state(events, is_training, summary.step, summary.total_steps)
    attempt("a file", lambda: _measure(path, summary), None)
    return summary


def is_trained(run: Run, beat: Heartbeat | None) -> bool:
    """Tell whether a training goes on: here by its lock, on another machine by its heartbeat."""
    # Not every shared disk shows the locks of other machines.
    is_elsewhere = beat is not None and beat.host != os.uname().nodename
    return bool(is_elsewhere and beat and beat.is_fresh) or run.is_locked()


def state(events: Sequence[Row], is_training: bool, step: int, total_steps: int | None) -> tuple[str, str | None]:
    """Return the state of a run, and the guard that stopped it, from what happened to it, oldest first."""
    if is_training:
        return "training", None
    for event in reversed(events):
        if event.kind in _ENDS:
            return event.kind, guard if isinstance(guard := event.get("guard"), str) else None
        if event.kind in ("started", "resumed"):
            return "failed", None
        if event.kind == "restored":
            return ("finished" if step == total_steps else "paused"), None
    if not events and step == 0:
        return "empty", None
    # It may be older than events.
    return ("finished" if step == total_steps else "unknown"), None


def _total_steps(run: Run) -> int | None:
    if not run.config_path.exists():
        return None
    data, _ = read_yaml(read_bytes(run.config_path, MOST_BYTES), str(run.config_path))
    return _STEP.validate_python(data["train"]["total_steps"])


def _last_logged_step(path: Path) -> int:
    """Return the step of the last whole row of the metrics log, without reading all of it."""
    if not path.exists():
        return 0
    with opened(path) as file:
        file.seek(max(path.stat().st_size - 16384, 0))
        for line in reversed(file.read().splitlines()):
            with contextlib.suppress(ValidationError):
                return Row.model_validate_json(line).step
    return 0


def _measure(folder: Path, summary: Summary) -> None:
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                found = os.lstat(os.path.join(root, name))
            except FileNotFoundError:
                # The run goes on meanwhile: a temporary file was renamed.
                continue
            summary.files[(found.st_dev, found.st_ino)] = found.st_size
            if name != "lock":
                summary.last_activity = max(summary.last_activity, found.st_mtime)
