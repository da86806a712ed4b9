"""No process outlives the one that it works for, however that one ends."""

import ctypes
import os
import signal
import threading
import time

LAUNCHER = "HIFITSE_LAUNCHER"
"""Variable with the process number of the launcher, for its ranks."""
_PR_SET_PDEATHSIG = 1
_CHECK_SECONDS = 1.0
_ORPHAN_SECONDS = 7.0
"""How long a rank may take to end its step and save it once its launcher is gone."""


def die_with_parent(number: signal.Signals = signal.SIGKILL) -> None:
    """Let the kernel kill this process when its parent ends, even while it is stopped or waits for a disk.

    Its parent is the thread that started it, which has to last as long.

    Args:
        number: the signal that it gets instead, after which it ends by itself.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(number))


def end_with_launcher() -> None:
    """End this rank in order when the process that started it is gone: nobody would end it any more."""
    launcher = int(os.environ.get(LAUNCHER, os.getppid()))

    def watch() -> None:
        while os.getppid() == launcher:
            time.sleep(_CHECK_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_ORPHAN_SECONDS)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="launcher", daemon=True).start()
