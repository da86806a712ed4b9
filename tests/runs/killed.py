"""Processes that are killed, or get a signal, in between two operations on files."""

import itertools
import os
import sys
import traceback
from collections.abc import Callable


def killed_at(operation: int, action: Callable[[], object]) -> bool:
    """Do something in a process that is killed before its nth operation on files; return whether that came to be."""
    process = os.fork()
    if process == 0:
        at_operation(operation, lambda: os._exit(9))
        try:
            action()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    assert code in (0, 9)
    return code == 9


def at_operation(operation: int, act: Callable[[], object]) -> None:
    """Act before this process changes anything on the disk for the nth time, counted from 0. Lasts as long as it."""
    seen = itertools.count()

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        changes = event in ("os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.symlink")
        if event == "open" and isinstance(arguments[2], int):
            changes = bool(arguments[2] & (os.O_WRONLY | os.O_RDWR))
        if changes and next(seen) == operation:
            act()

    sys.addaudithook(hook)
