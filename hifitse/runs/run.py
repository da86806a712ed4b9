"""The run directory: where everything of a run is.

runs/demo/
  config.yaml                           the resolved configuration
  origin.json                           of a fork, an import or train --init: run or file, step and digest that it began with
  checkpoints/step_00000200.safetensors
  validation/step_00000200.json         metrics and per-sample results of one validation (exams/ in older runs)
  metrics.jsonl                         one row per log_every steps, and one per validation
  events.jsonl                          what happened, in order of time: starts, stops, guards, skipped steps
  heartbeat.json                        where the training that goes on is; not there where none does
  log.txt                               what trainings said on stderr
  best.json                             what select-best chose
  averages/00000200_1a2b3c4d.safetensors  weight averages that select-best --average made, each with its validation (.json)
  pins.json                             checkpoints that retention never deletes, and why
  tensorboard/
  abandoned/01/                         an archived branch, see `hifitse.runs.branches`
  lock                                  held by the one process that may write
"""

import os
import re
import shlex
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from hifitse import storage
from hifitse.errors import UsageError

RUNS = Path("runs")
"""Where runs are that go by a name, relative to the working directory."""
_MARKS = ("config.yaml", "checkpoints", "events.jsonl", "metrics.jsonl", "lock")


@dataclass(frozen=True)
class Run:
    """Paths of a run, and who may write it. Creating one touches nothing."""

    path: Path

    @classmethod
    def named(cls, name: str) -> "Run":
        """Return the run that ``--run`` names: a path, or a name under runs/.

        Raises:
            UsageError: the name is empty.
        """
        if not name.strip():
            raise UsageError("--run '': empty; give a name under runs/, or a path")
        if not storage.is_text(name):
            raise UsageError(f"--run {name}: not UTF-8, which names of runs have to be; rename it")
        under_runs = RUNS / name
        # A run that was moved here goes by its bare name, too; another folder of that name is not meant.
        is_here = name in (".", "..") or (not under_runs.exists() and (Path(name) / "checkpoints").is_dir())
        return cls(Path(name) if "/" in name or is_here else under_runs)

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def argument(self) -> str:
        """What ``--run`` takes for this run."""
        return shlex.quote(self.name if self.path.parent == RUNS else str(self.path))

    @property
    def config_path(self) -> Path:
        return self.path / "config.yaml"

    @property
    def origin_path(self) -> Path:
        return self.path / "origin.json"

    @property
    def metrics_path(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def events_path(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def heartbeat_path(self) -> Path:
        return self.path / "heartbeat.json"

    @property
    def log_path(self) -> Path:
        return self.path / "log.txt"

    @property
    def best_path(self) -> Path:
        return self.path / "best.json"

    @property
    def pins_path(self) -> Path:
        return self.path / "pins.json"

    @property
    def lock_path(self) -> Path:
        return self.path / "lock"

    @property
    def leftover_path(self) -> Path:
        """Where a fork is built, beside the run."""
        path = self.path.absolute()
        return path.with_name(f".{path.name}.tmp")

    @property
    def archive_path(self) -> Path:
        return self.path / "abandoned"

    @property
    def checkpoints_path(self) -> Path:
        return self.path / "checkpoints"

    @property
    def validations_path(self) -> Path:
        # A run that began with the older name keeps it.
        older = self.path / "exams"
        return older if older.is_dir() else self.path / "validation"

    def checkpoint_path(self, step: int) -> Path:
        return self.checkpoints_path / f"step_{step:08d}.safetensors"

    def validation_path(self, step: int) -> Path:
        return self.validations_path / f"step_{step:08d}.json"

    def average_path(self, name: str) -> Path:
        """Return the file of a weight average. It has EMA weights only, so it is no checkpoint to go on from."""
        return self.path / "averages" / f"{name}.safetensors"

    def checkpoint_steps(self) -> list[int]:
        """Return the steps that have a checkpoint file, ascending."""
        return _steps(self.checkpoints_path, ".safetensors")

    def validation_steps(self) -> list[int]:
        """Return the steps that have a validation result, ascending."""
        return _steps(self.validations_path, ".json")

    def archived_folders(self) -> list[Path]:
        """Return the folders of ``abandoned/``, in order of their numbers."""
        return sorted((p for p in self.archive_path.glob("[0-9]*") if p.name.isdecimal()), key=lambda p: int(p.name))

    def exists(self) -> bool:
        """Tell whether the run has a checkpoint; one that ended before its first may be started over."""
        return bool(self.checkpoint_steps())

    def require(self) -> None:
        """Raise UsageError unless the run exists."""
        if not self.exists():
            raise UsageError(f"{self.path}: {self._why_missing()}")

    def _why_missing(self) -> str:
        if self.is_locked():
            return "in training, and its first checkpoint is not saved yet; wait for it"
        if self.config_path.exists():
            return f"ended before its first checkpoint; start it over with hifitse train --run {self.argument}"
        where = "" if self.path.is_absolute() else f" in {Path.cwd()}"
        others = [Run(path).argument for path in find_runs(RUNS)] if self.path.parent == RUNS else []
        listed = f"runs here: {', '.join(others)}" if others else f"there are no runs in {RUNS.absolute()}"
        if self.path.parent != RUNS:
            listed = "--run takes a name under runs/, or a path"
        return f"no such run{where}; {listed}; hifitse train starts one"

    def require_new(self) -> None:
        """Raise UsageError if the run exists."""
        if self.exists():
            raise UsageError(
                f"{self.path}: this run exists; continue it with hifitse resume --run {self.argument}, or give a new "
                "name with --run"
            )

    def remove_leftovers(self) -> list[str]:
        """Remove what writes that were killed have left, and return their names; the caller holds the lock."""
        left = [str(file.relative_to(self.path)) for file in storage.remove_leftovers(self.path)]
        if self.leftover_path.is_dir():
            shutil.rmtree(self.leftover_path)
            left.append(self.leftover_path.name)
        return left

    def is_locked(self) -> bool:
        """Tell whether a live process holds the run for writing. Takes the lock from nobody."""
        return storage.is_locked(self.lock_path)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run for writing.

        Raises:
            UsageError: another process holds it, or a file that is written to is a pipe, a folder or the like.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        for path in (self.lock_path, self.metrics_path, self.events_path):
            if os.path.lexists(path) and not path.is_file():
                raise UsageError(f"{path}: not a regular file; remove it, or put the file back")
        with ExitStack() as stack:
            try:
                descriptor = stack.enter_context(storage.locked(self.lock_path))
            except BlockingIOError:
                holder = self.lock_path.read_text().strip() or "another process"
                raise UsageError(f"{self.path}: {holder} is training this run; wait for it or stop it") from None
            with storage.naming(self.lock_path):
                os.ftruncate(descriptor, 0)
                os.write(descriptor, f"process {os.getpid()} on {os.uname().nodename}\n".encode())
            yield

    @contextmanager
    def checkpoints_held(self) -> Iterator[None]:
        """Hold off other processes that pin or delete checkpoints; a training may go on meanwhile."""
        with storage.locked(self.checkpoints_path, wait=True):
            yield


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


def _steps(folder: Path, suffix: str) -> list[int]:
    """Return the steps in the names of a folder's files; files of other names are somebody else's."""
    names = (re.fullmatch(rf"step_([0-9]{{8}}){re.escape(suffix)}", path.name) for path in folder.glob("step_*"))
    return sorted(int(name[1]) for name in names if name)
