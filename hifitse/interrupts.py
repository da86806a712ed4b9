"""SIGINT and SIGTERM, turned into a flag that the training loop reads at the end of a step."""

import os
import signal
from types import FrameType


class Interrupts:
    """A context in which the first SIGINT or SIGTERM only sets `received`; a second one exits at once."""

    def __init__(self) -> None:
        self.received: int | None = None

    def __enter__(self) -> "Interrupts":
        self._previous = {number: signal.signal(number, self._handle) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _: FrameType | None) -> None:
        if self.received is not None:
            # What is saved stays saved: checkpoints appear by a rename only.
            os._exit(128 + number)
        self.received = number
