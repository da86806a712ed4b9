"""Saving in the background: the training waits for a copy of its tensors, not for the disk.

A checkpoint counts as saved once its file is in place, verified; nothing here claims it before.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from hifitse import json_log, storage
from hifitse.checkpoint.file import Header, save_checkpoint
from hifitse.errors import CheckpointError, HifitseError, Interrupted
from hifitse.experiment import Experiment
from hifitse.runs.checkpoint_ref import CheckpointRef
from hifitse.runs.events import EventLog
from hifitse.runs.run import Run
from hifitse.training.saving import retry
from hifitse.training.state import TrainState, header, to_tensors


@dataclass(frozen=True)
class Copy:
    """A state on its way to the disk; the training may change the state meanwhile."""

    state: TrainState
    """Whose parent it becomes once it is in place."""
    path: Path
    header: Header
    tensors: dict[str, Tensor]


class Saver:
    """Saves the states of a training, one at a time; a context, on leaving which what was begun is in place.

    A save that fails is tried again with the same copy while the training goes on, so the checkpoint of that step is
    there as soon as the disk is free.
    """

    def __init__(
        self, run: Run, experiment: Experiment, events: EventLog, rows: json_log.JsonLog, when_saved: Callable[[], None]
    ) -> None:
        self.run, self.experiment, self.events, self.rows = run, experiment, events, rows
        self.when_saved = when_saved
        """Called between steps, after a checkpoint is in place."""
        self.host = _HostMemory(experiment.device)
        self.copy: Copy | None = None
        """What is not in place yet."""
        self.attempt: Future[str] | None = None
        """To save that copy; None between attempts."""
        self.retry = retry.Retry(experiment.config.train.save_minutes)

    def __enter__(self) -> "Saver":
        self.thread = ThreadPoolExecutor(1, "save")
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None or issubclass(kind, Interrupted):
                self.flush()
            else:
                with contextlib.suppress(CheckpointError):
                    self._finish_attempt()
        finally:
            self.thread.shutdown()

    def save(self, state: TrainState) -> None:
        """Begin to save a state, once the save before has ended; one that keeps failing is given up for this one.

        A state that is saved already stays as it is: its parent is the checkpoint before it.

        Raises:
            CheckpointError: see `poll`.
        """
        self._finish_attempt()
        path = self.run.checkpoint_path(state.step)
        if self.copy is None and path.exists():
            return
        if self.copy is None or self.copy.path != path:
            if self.copy:
                old = self.copy.header.step
                given_up = f"the checkpoint of step {old} is given up for that of {state.step}"
                self.events.report("save_failed", old, given_up)
            self.copy = Copy(state, path, header(state, self.experiment), self.host.copy(to_tensors(state)))
        if self.retry.is_due:
            self._begin_attempt()

    def poll(self) -> None:
        """Notice, between two steps, how a save has ended; try a failed one again when its time has come.

        Raises:
            CheckpointError: attempts have failed for train.save_minutes.
        """
        if self.attempt and self.attempt.done():
            self._finish_attempt()
        if self.copy and not self.attempt and self.retry.is_due:
            self._begin_attempt()

    def flush(self) -> None:
        """Wait until what was begun is in place; a failing save gets a few more attempts.

        Raises:
            CheckpointError: they have failed, too.
        """
        self._finish_attempt()
        for pause in (0.0, *retry.LAST_PAUSES):
            if self.copy:
                time.sleep(pause)
                self._begin_attempt()
                self._finish_attempt()
        if self.copy:
            raise self._given_up(self.copy)

    def _begin_attempt(self) -> None:
        assert self.copy
        try:
            # A resume from this checkpoint relies on the rows of the steps before it.
            self.rows.flush()
        except OSError as error:
            self._fail(self.copy, f"{self.rows.path}: could not be written ({error.strerror}); free the disk")
        else:
            self.attempt = self.thread.submit(_write, self.copy, self.rows.path)

    def _finish_attempt(self) -> None:
        """Wait for the attempt in flight, if there is one, and take note of how it ended."""
        if not (self.copy and self.attempt):
            return
        copy, attempt = self.copy, self.attempt
        self.attempt = None
        try:
            copy.state.parent = attempt.result()
        except (CheckpointError, OSError) as error:
            self._fail(copy, str(error))
            return
        if num_failed := self.retry.num_failed:
            step = copy.header.step
            self.events.report("saved", step, f"the checkpoint of step {step} is saved, at attempt {num_failed + 1}")
        self.copy = None
        self.retry.succeeded()
        self.when_saved()

    def _fail(self, copy: Copy, reason: str) -> None:
        step, said = copy.header.step, self.retry.failed(reason)
        if self.retry.is_over:
            raise self._given_up(copy)
        self.events.report("save_failed", step, f"the checkpoint of step {step} is not saved {said}")

    def _given_up(self, copy: Copy) -> CheckpointError:
        try:
            last = CheckpointRef("last").load(self.run)[0].header.step
            rest = f"Then go on from the last valid checkpoint, step {last}: hifitse resume --run {self.run.argument}"
        except HifitseError:
            rest = "There is no valid checkpoint to go on from: start again with hifitse train"
        step = copy.header.step
        return CheckpointError(f"step {step} could not be saved, the run ends: {self.retry.reason}. {rest}")


class _HostMemory:
    """Memory for the copies, allocated once: to get it from the system each time would cost more than the copying."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.tensors: dict[str, Tensor] = {}

    def copy(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return copies, which last until the next call."""
        with _one_thread():
            for name, tensor in tensors.items():
                if name not in self.tensors:
                    self.tensors[name] = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=tensor.is_cuda)
                self.tensors[name].copy_(tensor, non_blocking=True)
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return {name: self.tensors[name] for name in tensors}


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Thousands of small copies are done before the threads of each have met, where the cores are busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _write(copy: Copy, rows: Path) -> str:
    if rows.exists():
        # After a power cut, too, no checkpoint is there without its rows.
        storage.sync(rows)
    return save_checkpoint(copy.path, copy.header, copy.tensors)
