"""The run directory: config snapshot, checkpoints, metrics log, exam results, lock, best pointer.

runs/demo/
  config.yaml                           the resolved configuration
  origin.json                           of a fork or an import: run or file, step and digest that it began with
  checkpoints/step_00000200.safetensors
  exams/step_00000200.json              metrics and per-sample results of one validation
  metrics.jsonl                         one row per log_every steps
  events.jsonl                          what happened, in order of time: starts, stops, sick exams, skipped steps
  best.json                             what select-best chose
  pins.json                             checkpoints that retention never deletes, and why
  tensorboard/
  abandoned/01/                         what a resume from an older step left behind, see `hifitse.runs.branches`
  lock                                  held by the one process that may write
"""

import fcntl
import json
import os
import shlex
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from hifitse.config.schema import Config
from hifitse.config.files import dump_config
from hifitse.errors import CheckpointError, UsageError
from hifitse.runs.jsonl import lines, read_rows

if TYPE_CHECKING:
    from hifitse.checkpoint.file import Checkpoint


@dataclass(frozen=True)
class Run:
    """Paths of a run, and the few operations on them. Creating one touches nothing."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def argument(self) -> str:
        """What ``--run`` takes for this run."""
        return shlex.quote(self.name if self.path.parent == Path("runs") else str(self.path))

    @property
    def origin_path(self) -> Path:
        return self.path / "origin.json"

    @property
    def events_path(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def config_path(self) -> Path:
        return self.path / "config.yaml"

    @property
    def metrics_path(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def best_path(self) -> Path:
        return self.path / "best.json"

    @property
    def pins_path(self) -> Path:
        return self.path / "pins.json"

    @property
    def abandoned_path(self) -> Path:
        return self.path / "abandoned"

    def checkpoint_path(self, step: int) -> Path:
        return self.path / "checkpoints" / f"step_{step:08d}.safetensors"

    def exam_path(self, step: int) -> Path:
        return self.path / "exams" / f"step_{step:08d}.json"

    def checkpoint_steps(self) -> list[int]:
        """Return the steps that have a checkpoint file, ascending."""
        return _steps(self.path / "checkpoints", ".safetensors")

    def exam_steps(self) -> list[int]:
        """Return the steps that have an exam result, ascending."""
        return _steps(self.path / "exams", ".json")

    def exists(self) -> bool:
        """Tell whether the run has a checkpoint; one that ended before its first may be started over."""
        return bool(self.checkpoint_steps())

    def require(self) -> None:
        """Raise UsageError unless the run exists."""
        if not self.exists():
            raise self._missing()

    def _missing(self) -> UsageError:
        what = "this run has no checkpoint yet" if self.config_path.exists() else "no such run"
        return UsageError(f"{self.path}: {what}; start it with hifitse train, or name another with --run")

    def require_new(self) -> None:
        """Raise UsageError if the run exists."""
        if self.exists():
            raise UsageError(
                f"{self.path}: this run exists; continue it with hifitse resume, or give a new name with --run"
            )

    def write_config(self, config: Config) -> None:
        write_text(self.config_path, dump_config(config))

    def load_last(self) -> "tuple[Checkpoint, list[str]]":
        """Load the newest valid checkpoint; also return why newer ones were skipped."""
        from hifitse.checkpoint import file as checkpoints

        skipped: list[str] = []
        for step in reversed(self.checkpoint_steps()):
            try:
                return checkpoints.load(self.checkpoint_path(step)), skipped
            except CheckpointError as error:
                skipped.append(str(error))
        if skipped:
            raise CheckpointError(f"{self.path}: no valid checkpoint left: {skipped[0]}")
        raise self._missing()

    def find(self, which: str) -> Path:
        """Return the path of the checkpoint that ``--from`` names: a step, best, or a file.

        Raises:
            UsageError: there is none; the message lists those that exist.
        """
        if (path := Path(which)).is_file():
            return path
        self.require()
        if which == "best":
            if not (best := self.read_best()):
                raise UsageError(
                    f"{self.path}: no best checkpoint chosen yet; run hifitse select-best --run {self.argument}"
                )
            return self.checkpoint_path(best["step"])
        if which.isdecimal():
            if (path := self.checkpoint_path(int(which))).exists():
                return path
            steps = self.checkpoint_steps()
            near = sorted(sorted(steps, key=lambda step: abs(step - int(which)))[:5])
            listed = f"nearest: {', '.join(map(str, near))}" if near else "the run has none"
            raise UsageError(f"{self.path}: no checkpoint at step {which}; {listed}")
        raise UsageError(f"--from {which}: neither a step, nor last or best, nor a checkpoint file")

    def load(self, which: str) -> "tuple[Checkpoint, list[str]]":
        """Load what ``--from`` names (a step, last, best, or a file); also return skipped ones, by reason."""
        from hifitse.checkpoint import file as checkpoints

        if which == "last":
            self.require()
            return self.load_last()
        return checkpoints.load(self.find(which)), []

    def owns(self, checkpoint: "Checkpoint") -> bool:
        """Tell whether a checkpoint is the one that this run has at its step."""
        from hifitse.checkpoint import file as checkpoints

        path = self.checkpoint_path(checkpoint.header.step)
        return path.exists() and checkpoints.load_header(path)[1] == checkpoint.digest

    def read_best(self) -> dict[str, Any] | None:
        """Return step, metric and value that select-best chose, or None.

        Raises:
            CheckpointError: the file cannot be read.
        """
        if not self.best_path.exists():
            return None
        try:
            best: dict[str, Any] = json.loads(self.best_path.read_text())
            return {**best, "step": int(best["step"])}
        except (OSError, ValueError, KeyError, TypeError) as error:
            remedy = f"remove it and repeat hifitse select-best --run {self.argument}"
            raise CheckpointError(f"{self.best_path}: unreadable ({error}); {remedy}") from error

    def write_metrics(self, rows: list[dict[str, Any]]) -> None:
        """Replace the metrics log."""
        write_text(self.metrics_path, lines(rows))

    def read_metrics(self) -> list[dict[str, Any]]:
        """Return the rows of the metrics log; lines cut by a crash are left out."""
        return read_rows(self.metrics_path)

    def read_events(self) -> list[dict[str, Any]]:
        """Return what happened to the run, oldest first."""
        return read_rows(self.events_path)

    def ended_with(self, kind: str) -> bool:
        """Tell whether the last that happened to the run is an event of this kind."""
        events = self.read_events()
        return bool(events) and events[-1]["kind"] == kind

    def write_exam(self, step: int, exam: dict[str, Any]) -> None:
        write_text(self.exam_path(step), json.dumps(exam))

    def read_exam(self, step: int) -> dict[str, Any]:
        """Return an exam's result as it was written.

        Raises:
            CheckpointError: the file cannot be read.
        """
        try:
            data: dict[str, Any] = json.loads(self.exam_path(step).read_text())
            {name: data[name] for name in ("step", "exam_digest", "metrics", "raw_metrics", "terms", "samples")}
        except (OSError, ValueError, KeyError, TypeError) as error:
            remedy = f"repeat it with hifitse validate --run {self.argument} --from {step}"
            raise CheckpointError(f"{self.exam_path(step)}: unreadable ({error}); {remedy}") from error
        return data

    def remove_leftovers(self) -> list[str]:
        """Remove the temporary files of writes that were killed, and return their names; the caller holds the lock."""
        folders = [self.path, self.path / "checkpoints", self.path / "exams", *self.abandoned_path.glob("*")]
        leftovers = [file for folder in folders for file in sorted(folder.glob(".*.tmp"))]
        for file in leftovers:
            file.unlink(missing_ok=True)
        return [str(file.relative_to(self.path)) for file in leftovers]

    def is_examined(self, step: int) -> bool:
        """Tell whether the exam of a step is complete: a killed one may have left its result without its row."""
        return self.exam_path(step).exists() and any(
            row["step"] == step and row.get("kind") == "exam" for row in self.read_metrics()
        )

    def abandoned_folders(self) -> list[Path]:
        """Return the folders of ``abandoned/``, in order of their numbers."""
        return sorted((p for p in self.abandoned_path.glob("[0-9]*") if p.name.isdecimal()), key=lambda p: int(p.name))

    def is_locked(self) -> bool:
        """Tell whether a live process holds the run for writing. Takes the lock from nobody."""
        try:
            file = (self.path / "lock").open()
        except FileNotFoundError:
            return False
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run for writing. The lock is the operating system's: a dead process holds none.

        Raises:
            UsageError: another process holds it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / "lock").open("a+") as file:
            try:
                _acquire(file)
            except BlockingIOError:
                file.seek(0)
                holder = file.read().strip() or "another process"
                raise UsageError(f"{self.path}: {holder} is training this run; wait for it or stop it") from None
            file.truncate(0)
            file.write(f"process {os.getpid()} on {os.uname().nodename}\n")
            file.flush()
            yield


def write_text(path: Path, text: str) -> None:
    """Write a file so that a crash leaves the old one or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _steps(folder: Path, suffix: str) -> list[int]:
    return sorted(int(path.stem.removeprefix("step_")) for path in folder.glob(f"step_????????{suffix}"))


def _acquire(file: IO[str]) -> None:
    """Lock a file for this process, or raise BlockingIOError."""
    for is_last in (False, False, True):
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if is_last:
                raise
            # It may be `is_locked` of another process, which holds it for an instant.
            time.sleep(0.02)


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file a second name, which takes no space; where the file system cannot, copy it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
