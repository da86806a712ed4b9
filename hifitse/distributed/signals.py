"""Signals: during training a flag, read where nothing is lost; elsewhere the orderly end of the command.

Nothing heavy is imported here: the command line begins with it.
"""

import os
import signal
import time
from collections.abc import Callable
from types import FrameType

from hifitse.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""Ctrl-C, the usual end, a terminal that closes, what batch systems and submitit send ahead of the end."""
_SAME_SECONDS = 1.0
"""Signals closer than this count as one: a terminal and a launcher may both pass on what was sent once."""


class SignalReceived(BaseException):
    """A signal ends the command. Not an Exception: no library that goes on after errors goes on after this."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = Interrupted.code_of(number)


class Interrupts:
    """A context in which the first signal only sets `received`; later ones tell people what is going on.

    None ends the process: what the first one asked to be saved would be lost.

    Args:
        tell: called with a line, in the signal handler.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self.received: int | None = None
        self._received_at = 0.0
        self._tell = tell

    def __enter__(self) -> "Interrupts":
        global _current
        self._previous = {number: signal.signal(number, self._handle) for number in _not_ignored()}
        _current = self
        return self

    def __exit__(self, *_: object) -> None:
        global _current, _ending
        _current = None
        if self.received is not None:
            _ending = self.received, self._received_at
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _: FrameType | None) -> None:
        now = time.monotonic()
        if self.received is None:
            self.received, self._received_at = number, now
        elif now - self._received_at > _SAME_SECONDS:
            self._tell("already ending: the state is saved first; SIGQUIT (Ctrl-\\) ends at once and loses it")


_current: Interrupts | None = None
"""Of the training in this process: signals belong to the process as a whole."""
_ending: tuple[int, float] | None = None
"""The first signal that came, and when."""


def raise_if_interrupted() -> None:
    """End a wait, which is where a training may be interrupted within a step.

    Raises:
        Interrupted: a signal has arrived in a training.
    """
    if _current and _current.received:
        raise Interrupted("interrupted", _current.received)


def end_in_order() -> None:
    """Let the first signal end this process by SignalReceived, a later one at once; for all but the training loop."""
    global _ending
    _ending = None
    for number in _not_ignored():
        signal.signal(number, _end)


def ending_exit_code() -> int | None:
    """Return the exit code of the signal that is ending this process; None if there was none."""
    return Interrupted.code_of(_ending[0]) if _ending else None


def ignore_signals() -> None:
    """Let nothing come between a command that has ended and its exit code."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _end(number: int, frame: FrameType | None) -> None:
    global _ending
    now, code = time.monotonic(), Interrupted.code_of(number)
    if _ending is None:
        _ending = number, now
        if _is_importing(frame):
            # Modules in C make other errors of what is raised now, or lose it; and nothing has to be put in order.
            os.write(2, b"interrupted\n")
            os._exit(code)
        raise SignalReceived(number)
    if now - _ending[1] > _SAME_SECONDS:
        os._exit(code)


def _is_importing(frame: FrameType | None) -> bool:
    while frame and not frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    return frame is not None


def _not_ignored() -> list[signal.Signals]:
    # nohup has a terminal's end ignored.
    return [n for n in SIGNALS if n != signal.SIGHUP or signal.getsignal(n) != signal.SIG_IGN]
