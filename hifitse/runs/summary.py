"""What is known about the runs in a folder, from their files alone. A damaged or half-made run is listed as such."""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from hifitse.config.parsing.yaml import read_yaml
from hifitse.runs.pins import read_pins
from hifitse.runs.run import Run

T = TypeVar("T")

_ENDS = ("finished", "paused", "interrupted", "stopped", "failed")
_MARKS = ("config.yaml", "checkpoints", "events.jsonl", "metrics.jsonl", "lock")


@dataclass
class Summary:
    """What a run says about itself."""

    path: Path
    state: str = "unknown"
    """training, finished, paused, interrupted, stopped, failed (its process is gone without a word), empty, unknown."""
    guard: str | None = None
    """The guard that stopped it."""
    step: int = 0
    """Completed steps, as far as they are on the disk."""
    total_steps: int | None = None
    best: dict[str, Any] | None = None
    """Step, metric and value that select-best chose."""
    checkpoints: list[int] = field(default_factory=list)
    pins: dict[int, dict[str, Any]] = field(default_factory=dict)
    abandoned: list[str] = field(default_factory=list)
    """Numbers of the abandoned lines."""
    origin: dict[str, Any] | None = None
    """Run, step and digest that a fork began with."""
    last_activity: float = 0.0
    """When a file of the run last changed, in seconds since 1970."""
    files: dict[tuple[int, int], int] = field(default_factory=dict)
    """Device and inode of each file, and its size; a hard link is there once."""
    problems: list[str] = field(default_factory=list)
    """What could not be read."""

    def to_json(self) -> dict[str, Any]:
        data = asdict(self) | {"path": str(self.path), "size_bytes": sum(self.files.values())}
        del data["files"]
        return data


def find_runs(folder: Path) -> list[Path]:
    """Return the runs in a folder, at any depth and in order of their paths; the folder itself if it is one."""
    found: list[Path] = []
    seen: set[str] = set()

    def look(path: Path) -> None:
        # A link may lead back up.
        if (real := os.path.realpath(path)) in seen:
            return
        seen.add(real)
        try:
            entries = sorted(os.scandir(path), key=lambda entry: entry.name)
        except OSError:
            return
        if any(entry.name in _MARKS for entry in entries):
            found.append(path)
            return
        for entry in entries:
            if entry.is_dir() and not entry.name.startswith("."):
                look(path / entry.name)

    look(folder)
    return found


def summarize(path: Path) -> Summary:
    """Read what a run says about itself; what cannot be read is named in ``problems``. Changes nothing."""
    run, summary = Run(path), Summary(path)

    def attempt(what: str, read: Callable[[], T], otherwise: T) -> T:
        try:
            return read()
        # Whatever a half-written file leads to: the other runs are to be listed, and this one with its problem.
        except Exception as error:
            summary.problems.append(f"{what} cannot be read: {type(error).__name__}: {error}")
            return otherwise

    summary.checkpoints = attempt("checkpoints", run.checkpoint_steps, [])
    logged = attempt("metrics.jsonl", lambda: _last_logged_step(run.metrics_path), 0)
    summary.step = max([logged, *summary.checkpoints])
    summary.total_steps = attempt("config.yaml", lambda: _total_steps(run), None)
    summary.best = attempt("best.json", lambda: _read_best(run), None)
    summary.pins = attempt("pins.json", lambda: read_pins(run), {})
    summary.abandoned = attempt("abandoned", lambda: [folder.name for folder in run.abandoned_folders()], [])
    summary.origin = attempt("origin.json", lambda: _read_origin(run), None)
    is_locked = attempt("lock", run.is_locked, False)
    events: list[dict[str, Any]] = attempt("events.jsonl", run.read_events, [])
    found = (summary.state, summary.guard)
    found = attempt("events.jsonl", lambda: state(events, is_locked, summary.step, summary.total_steps), found)
    summary.state, summary.guard = found
    attempt("a file", lambda: _measure(path, summary), None)
    return summary


def state(
    events: Sequence[dict[str, Any]], is_locked: bool, step: int, total_steps: int | None
) -> tuple[str, str | None]:
    """Return the state of a run, and the guard that stopped it, from what happened to it, oldest first."""
    if is_locked:
        return "training", None
    for event in reversed(events):
        if event["kind"] in _ENDS:
            return event["kind"], event.get("guard")
        if event["kind"] in ("started", "resumed"):
            return "failed", None
        if event["kind"] == "restored":
            return ("finished" if step == total_steps else "paused"), None
    if not events and step == 0:
        return "empty", None
    # It may be older than events.
    return ("finished" if step == total_steps else "unknown"), None


def _total_steps(run: Run) -> int | None:
    if not run.config_path.exists():
        return None
    data, _ = read_yaml(run.config_path.read_bytes(), str(run.config_path))
    return int(data["train"]["total_steps"])


def _last_logged_step(path: Path) -> int:
    """Return the step of the last whole row of the metrics log, without reading all of it."""
    if not path.exists():
        return 0
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - 16384, 0))
        for line in reversed(file.read().splitlines()):
            if line.startswith(b"{") and line.endswith(b"}"):
                return int(json.loads(line)["step"])
    return 0


def _read_best(run: Run) -> dict[str, Any] | None:
    best = run.read_best()
    return best and {"step": int(best["step"]), "metric": str(best["metric"]), "value": float(best["value"])}


def _read_origin(run: Run) -> dict[str, Any] | None:
    if not run.origin_path.exists():
        return None
    origin = json.loads(run.origin_path.read_text())
    return {"source": str(origin["source"]), "step": int(origin["step"]), "digest": str(origin["digest"])}


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
