"""The process that loader processes are forked from, and what those do. It has imported all that they need.

A fork of the training process would copy the locks of its threads. Whatever ends the training process or this one, the
kernel ends what is below it.
"""

import ctypes
import mmap
import os
import pickle
import queue
import signal
import socket
import struct
import threading
import traceback
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

import torch

import hifitse.mixing.rendering  # noqa: F401 - it and all below it takes seconds to import
from hifitse.distributed.lifetime import die_with_parent
from hifitse.errors import HifitseError
from hifitse.mixing.batch import MicroBatch

ASSIGNMENT = struct.Struct("<II")
"""What a loader process is given: its number, and how many there are. With it come its connection and the job."""
LENGTH = struct.Struct("<Q")
"""What every message begins with: the length of its pickled part. The samples follow, as they lie in memory."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Of malloc.h."""

Item = tuple[int, int]
"""Step and number of the micro-batch."""


@dataclass(frozen=True)
class Failure:
    """An error on its way to the training."""

    kind: type[HifitseError]
    message: str


class Source(Protocol):
    """What renders micro-batches."""

    def __getitem__(self, item: Item) -> MicroBatch | Failure: ...


class Items(Protocol):
    """What has to be rendered, in order."""

    def __len__(self) -> int: ...
    def __getitem__(self, turn: int) -> Item: ...


@dataclass(frozen=True)
class Job:
    """What the loader processes share out: each renders every so many-th item, in order."""

    source: Source
    items: Items
    prefetch: int
    """Micro-batches that each process renders ahead."""


def main() -> None:
    """Fork a loader process for each message on standard input, a socket; report there how one has died."""
    control = socket.socket(fileno=0)
    keep_freed_memory()
    signal.signal(signal.SIGCHLD, lambda *_: _report_deaths(control))
    while True:
        message, descriptors, *_ = socket.recv_fds(control, ASSIGNMENT.size, 2)
        if not message:
            return
        try:
            process = os.fork()
        except OSError as error:
            _report(control, f"could not be started: {error.strerror}")
        else:
            if process == 0:
                control.close()
                _work(*descriptors, *ASSIGNMENT.unpack(message))
        for descriptor in descriptors:
            os.close(descriptor)


def keep_freed_memory() -> None:
    """Let this process keep what it frees, in place of giving it back to the system after each array (see mallopt(3)).

    A scene at 48 kHz goes through 30 MB of them; to get their pages again each time takes a third of the rendering.
    """
    library = ctypes.CDLL(None)
    library.mallopt(_M_MMAP_THRESHOLD, 2**25)
    library.mallopt(_M_TRIM_THRESHOLD, 2**30)


def _report_deaths(control: socket.socket) -> None:
    while True:
        try:
            process, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not process:
            return
        if code := os.waitstatus_to_exitcode(status):
            _report(control, f"exit code {code}" if code > 0 else signal.Signals(-code).name)


def _report(control: socket.socket, text: str) -> None:
    control.sendall(text.encode() + b"\n")


def _work(connection: int, job: int, number: int, num_workers: int) -> NoReturn:
    die_with_parent()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    torch.set_num_threads(1)
    try:
        found: Job = pickle.loads(mmap.mmap(job, 0, prot=mmap.PROT_READ))
        _render_ahead(found, range(number, len(found.items), num_workers), socket.socket(fileno=connection))
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _render_ahead(job: Job, mine: range, connection: socket.socket) -> None:
    ready: queue.SimpleQueue[MicroBatch | Failure] = queue.SimpleQueue()
    ahead = threading.Semaphore(job.prefetch)

    def deliver() -> None:
        try:
            for _ in mine:
                _send(connection, ready.get())
                ahead.release()
        except ConnectionError:
            # Nobody wants any more.
            os._exit(0)

    sender = threading.Thread(target=deliver)
    sender.start()
    for turn in mine:
        ahead.acquire()
        ready.put(job.source[job.items[turn]])
    sender.join()


def _send(connection: socket.socket, found: MicroBatch | Failure) -> None:
    parts = {} if isinstance(found, Failure) else vars(found)
    tensors = {name: part for name, part in parts.items() if isinstance(part, torch.Tensor)}
    head = found if isinstance(found, Failure) else {name: part for name, part in parts.items() if name not in tensors}
    pickled = pickle.dumps((head, {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}))
    connection.sendall(LENGTH.pack(len(pickled)) + pickled)
    for tensor in tensors.values():
        connection.sendall(as_bytes(tensor))


def as_bytes(tensor: torch.Tensor) -> memoryview:
    """Return the memory of a contiguous tensor on the CPU."""
    samples: Any = tensor.numpy()
    return memoryview(samples).cast("B")
