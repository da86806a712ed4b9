"""SIGINT, SIGTERM and SIGUSR1: during training a flag, read where nothing is lost; elsewhere an orderly end."""

import contextlib
import os
import signal
import time
from collections.abc import Generator
from types import FrameType

from hifitse.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
_SAME_SECONDS = 1.0
"""Signals closer than this count as one: a terminal and a launcher may both pass on what was sent once."""


class Interrupts:
    """A context in which the first signal only sets `received`; a second one exits at once."""

    def __init__(self) -> None:
        self.received: int | None = None
        self._received_at = 0.0

    def __enter__(self) -> "Interrupts":
        self._previous = {number: signal.signal(number, self._handle) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _: FrameType | None) -> None:
        now = time.monotonic()
        if self.received is None:
            self.received, self._received_at = number, now
        elif now - self._received_at > _SAME_SECONDS:
            # What is saved stays saved: checkpoints appear by a rename only.
            os._exit(Interrupted.code_of(number))


@contextlib.contextmanager
def ending_in_order() -> Generator[None]:
    """Let SIGTERM and SIGUSR1 end a command as SIGINT does, by an exception; for all that is not the training loop."""

    def end(number: int, _: FrameType | None) -> None:
        raise Interrupted("interrupted", number)

    previous = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGUSR1)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
