"""A training in a process of its own: whatever ends it, the sweep goes on."""

import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial

from hifitse.distributed.lifetime import die_with_parent


class Child:
    """`hifitse` with these arguments; a context, on leaving which it has ended in order."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self.arguments = list(arguments)

    def __enter__(self) -> "Child":
        self._said = tempfile.TemporaryFile()
        # In a session of its own: Ctrl-C is for the sweep, which passes it on.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "hifitse", *self.arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._said,
            start_new_session=True,
            preexec_fn=partial(die_with_parent, signal.SIGTERM),
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.terminate()
        self._process.wait()
        self._said.close()

    def terminate(self) -> None:
        """Let it save its state and end, as after Ctrl-C."""
        self._process.terminate()

    @property
    def code(self) -> int | None:
        """Its exit code; None: it goes on."""
        return self._process.poll()

    @property
    def last_words(self) -> str:
        """The last line that it has said, or what killed it."""
        if self.code is not None and self.code < 0:
            name = signal.Signals(-self.code).name
            return f"killed by {name}" + (", perhaps for lack of memory" if name == "SIGKILL" else "")
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").split("\n")
        return next((line.removeprefix("error: ") for line in reversed(lines) if line.strip()), "no word")
