"""Which process works on which trial: a file that it holds and touches, so that a dead one holds none for long.

On the machine of the process it is the lock that tells, at once; elsewhere, where locks may not be seen, the time.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from hifitse import storage
from hifitse.runs.heartbeat import STALE_SECONDS


class Claims:
    """The files of a folder. To look and then to claim, others have to be held off: `Sweep.alone`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._held: int | None = None
        """Descriptor of the file that this process holds."""

    def is_held(self, number: int) -> bool:
        """Tell whether a process lives that works on a trial."""
        path = self._path(number)
        if storage.is_locked(path):
            return True
        try:
            is_elsewhere = path.read_text() != os.uname().nodename
            return is_elsewhere and time.time() - path.stat().st_mtime < STALE_SECONDS
        except FileNotFoundError:
            return False

    @contextlib.contextmanager
    def hold(self, number: int) -> Iterator[None]:
        """Hold a trial that nobody else does; `beat` has to be called every few seconds."""
        path = self._path(number)
        with storage.locked(path) as self._held:
            os.ftruncate(self._held, 0)
            os.pwrite(self._held, os.uname().nodename.encode(), 0)
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
                self._held = None

    def beat(self) -> None:
        """Let other machines see that this process lives."""
        if self._held is not None:
            os.utime(self._held)

    def _path(self, number: int) -> Path:
        return self.folder / f"trial_{number:03d}"
