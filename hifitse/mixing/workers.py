"""Loader processes, as the training sees them: each sends its micro-batches through a socket of its own.

Nothing is kept in shared memory, whose room containers limit. What goes wrong with a process is an error that names the
remedy; all of them are then ended, so that the next ones start afresh.
"""

import atexit
import contextlib
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from typing import Any, TypeVar

import torch

from hifitse.distributed.signals import SIGNALS, raise_if_interrupted
from hifitse.errors import LoaderError
from hifitse.mixing.batch import MicroBatch
from hifitse.mixing.fork_server import ASSIGNMENT, LENGTH, Failure, Job, as_bytes

B = TypeVar("B", bytearray, memoryview)
_CHECK_SECONDS = 0.2
"""How often a wait looks for signals."""
_REPORT_SECONDS = 1.0
"""How long after the end of a process the report of its death may take."""


class _ForkServer:
    """The process that loader processes are forked from; there is one while there is something to load."""

    def __init__(self) -> None:
        self.control, theirs = socket.socketpair()
        begin = (
            f"import sys; sys.path[:] = {sys.path!r}; "
            # First of all: the other import takes seconds.
            "from hifitse.distributed.lifetime import die_with_parent; die_with_parent(); "
            "from hifitse.mixing.fork_server import main; main()"
        )
        with theirs, _blocked_signals():
            command = [sys.executable, "-c", begin]
            self.process = subprocess.Popen(command, stdin=theirs.fileno(), stdout=subprocess.DEVNULL)

    def fork(self, job: int, number: int, num_workers: int) -> socket.socket:
        """Ask for a loader process, and return the connection to it."""
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self.control, [ASSIGNMENT.pack(number, num_workers)], [theirs.fileno(), job])
        ours.settimeout(_CHECK_SECONDS)
        return ours

    def last_death(self) -> str:
        """Return how a loader process has died."""
        try:
            self.control.settimeout(_REPORT_SECONDS)
            reports = self.control.recv(2**16).decode().splitlines()
        except OSError:
            # It is silent or gone; whoever else has noticed that has closed the connection.
            reports = []
        return reports[-1] if reports else "all of them have ended"

    def stop(self) -> None:
        """End it, and with it the loader processes, even those that are stopped."""
        self.control.close()
        self.process.kill()
        self.process.wait()


_server: _ForkServer | None = None


def _running_server() -> _ForkServer:
    global _server
    if _server is None or _server.process.poll() is not None:
        stop_all()
        _server = _ForkServer()
    return _server


@atexit.register
def stop_all() -> None:
    """End all loader processes of this process; those that are asked for later start afresh."""
    global _server
    if _server is not None:
        _server.stop()
    _server = None


@contextlib.contextmanager
def _blocked_signals() -> Generator[None]:
    """Processes started inside never see the signals that terminals and batch systems send to the whole group.

    The training process decides when they end.
    """
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def render(job: Job, num_workers: int, timeout_seconds: float, *, pinned: bool) -> Generator[MicroBatch | Failure]:
    """Yield the items of a job in order, rendered by loader processes. Closing the generator ends them.

    Args:
        timeout_seconds: how long a process may let the training wait.
        pinned: put the samples into page-locked memory, for a GPU.

    Raises:
        LoaderError: a process has died, or let the training wait too long; all loader processes are ended.
        Interrupted: a signal has arrived in a training that waits.
    """
    with contextlib.ExitStack() as stack:
        try:
            server = _running_server()
            with open(os.memfd_create("job"), "wb+") as file:
                pickle.dump(job, file)
                file.flush()
                connections = [
                    stack.enter_context(server.fork(file.fileno(), number, num_workers))
                    for number in range(num_workers)
                ]
            for turn in range(len(job.items)):
                yield _receive(connections[turn % num_workers], timeout_seconds, pinned)
        except TimeoutError:
            stop_all()
            raise LoaderError(
                f"no scenes came from a loader process in {timeout_seconds:g} s (data.timeout_seconds): it is stopped, "
                "or the storage of the recordings is slow; look after it, or raise data.timeout_seconds"
            ) from None
        except ConnectionError as error:
            reason = server.last_death()
            stop_all()
            raise LoaderError(
                f"a loader process died ({reason}); if memory ran out, lower data.num_workers or data.prefetch"
            ) from error
        except OSError as error:
            stop_all()
            raise LoaderError(
                f"the loader processes cannot be started ({error.strerror}); lower data.num_workers, or raise the limit"
            ) from error


def _receive(connection: socket.socket, timeout_seconds: float, pinned: bool) -> MicroBatch | Failure:
    (length,) = LENGTH.unpack(_read(connection, bytearray(LENGTH.size), timeout_seconds))
    head, kinds = pickle.loads(_read(connection, bytearray(length), timeout_seconds))
    if isinstance(head, Failure):
        return head
    tensors: dict[str, Any] = {}
    for name, (shape, dtype) in kinds.items():
        tensors[name] = torch.empty(shape, dtype=dtype, pin_memory=pinned)
        _read(connection, as_bytes(tensors[name]), timeout_seconds)
    return MicroBatch(**head, **tensors)


def _read(connection: socket.socket, buffer: B, timeout_seconds: float) -> B:
    """Fill a buffer.

    Raises:
        TimeoutError: nothing came for that long.
        ConnectionError: the other side is gone.
        Interrupted: a signal has arrived in a training.
    """
    rest, deadline = memoryview(buffer), time.monotonic() + timeout_seconds
    while rest:
        try:
            num_bytes = connection.recv_into(rest)
        except TimeoutError:
            raise_if_interrupted()
            if time.monotonic() > deadline:
                raise
            continue
        if num_bytes == 0:
            raise ConnectionResetError
        rest, deadline = rest[num_bytes:], time.monotonic() + timeout_seconds
    return buffer
