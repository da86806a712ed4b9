"""Events for people who are elsewhere: each one goes to a command of theirs, as JSON on its standard input.

The training never waits for it: a thread runs one command at a time, and ends one that takes too long.
"""

import json
import os
import queue
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from typing import Any

from hifitse.json_log import Row

LIMIT_SECONDS = 30.0
"""For one event; after the end of a training also for all that still wait."""
_MOST_WAITING = 1000


class EventCommand:
    """Runs a command for each event; a context, on leaving which the last ones have been given."""

    def __init__(self, command: Sequence[str], limit_seconds: float = LIMIT_SECONDS) -> None:
        self.command, self.limit_seconds = list(command), limit_seconds
        self.failures: queue.SimpleQueue[tuple[Row, str]] = queue.SimpleQueue()
        """Events whose command failed, and why."""
        self._waiting: queue.Queue[Row | None] = queue.Queue(_MOST_WAITING)
        self._ends_at = float("inf")
        self._thread = threading.Thread(target=self._run, name="on_event", daemon=True)

    def __enter__(self) -> "EventCommand":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends_at = time.monotonic() + self.limit_seconds
        self._waiting.put(None)
        self._thread.join()

    def send(self, event: Row) -> None:
        """Give an event to the command, when those before it are done."""
        try:
            self._waiting.put_nowait(event)
        except queue.Full:
            self.failures.put((event, f"{_MOST_WAITING} events wait for it already"))

    def failed(self) -> list[tuple[Row, str]]:
        """Return what has failed since the last call."""
        return [self.failures.get() for _ in range(self.failures.qsize())]

    def _run(self) -> None:
        while (event := self._waiting.get()) is not None:
            if reason := self._give(event):
                self.failures.put((event, reason))

    def _give(self, event: Row) -> str | None:
        """Run the command for an event; return why it failed, or None."""
        seconds = min(self.limit_seconds, self._ends_at - time.monotonic())
        if seconds <= 0:
            return "the training ended before its turn came"
        try:
            # Files, not pipes: whatever the command starts and leaves behind, nothing waits for it.
            with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as said:
                given.write(f"{json.dumps(event)}\n".encode())
                given.seek(0)
                # In a group of its own: it can be ended with all that it started, and Ctrl-C is not meant for it.
                process = subprocess.Popen(
                    self.command, stdin=given, stdout=subprocess.DEVNULL, stderr=said, start_new_session=True
                )
                try:
                    code = process.wait(seconds)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
                    return f"it took longer than {seconds:.0f} s and was ended"
                said.seek(0)
                return _failure(code, said.read(10_000))
        except OSError as error:
            return f"{error.filename or self.command[0]}: {error.strerror}"


def _failure(code: int, said: bytes) -> str | None:
    if code == 0:
        return None
    lines: list[Any] = said.decode(errors="replace").strip().splitlines()
    return f"exit code {code}" + (f": {lines[-1][:200]}" if lines else "")
