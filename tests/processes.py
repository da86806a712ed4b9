"""Real trainings in processes of their own, and what is below them."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from hifitse.runs.records import read_metrics
from hifitse.runs.run import Run
from tests.helpers import TINY


def children(process: int) -> list[int]:
    """Return the processes that a process has started and that live."""
    return sorted(child for child, (parent, state) in _processes().items() if parent == process and state not in "ZX")


def descendants(process: int) -> list[int]:
    """Return all processes below a process."""
    return [found for child in children(process) for found in (child, *descendants(child))]


def parent_of(process: int) -> int:
    return _processes()[process][0]


def is_alive(process: int) -> bool:
    """Tell whether a process is there and no mere zombie."""
    return _processes().get(process, (0, "X"))[1] not in "ZX"


def _processes() -> dict[int, tuple[int, str]]:
    """Return the parent and the state of every process."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, parent, *_ = (folder / "stat").read_text().rpartition(")")[2].split()
            found[int(folder.name)] = (int(parent), state)
    return found


def wait_for(condition: Callable[[], object], seconds: float = 60.0) -> bool:
    """Wait until something is so; return whether it is."""
    deadline = time.monotonic() + seconds
    while not (found := bool(condition())) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


@contextlib.contextmanager
def endless_training(
    run: Run, *settings: str, arguments: Sequence[object] = (), python: Sequence[str] = ("-m", "hifitse"), **popen: Any
) -> Iterator[subprocess.Popen[str]]:
    """A training in a process of its own, which has done some steps and does not outlive the test."""
    endless = ("train.total_steps=90000", "train.validate_every=90000", "train.checkpoint_every=90000", *settings)
    command = [sys.executable, *python, "train", "--config", str(TINY), "--run", str(run.path), *map(str, arguments)]
    command += [part for setting in endless for part in ("--set", setting)]
    with subprocess.Popen(command, **({"stderr": subprocess.PIPE, "text": True} | popen)) as process:
        below: list[int] = []
        try:
            assert wait_for(lambda: len(read_metrics(run)) >= 3 or process.poll() is not None, 120)
            below = descendants(process.pid)
            yield process
        finally:
            for found in (process.pid, *below, *descendants(process.pid)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(found, signal.SIGKILL)


def marked(mark: str) -> list[int]:
    """Return the processes that live and have this text in their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark.encode() in (folder / "environ").read_bytes() and is_alive(int(folder.name)):
                found.append(int(folder.name))
    return found
