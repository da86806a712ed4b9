"""The command line as a process: how it begins, and how it ends, with one line and an exit code, whatever happens."""

import contextlib
import os
import sys
import time
from collections.abc import Callable

from hifitse.distributed import signals
from hifitse.distributed.environment import read_place
from hifitse.distributed.lifetime import end_with_launcher
from hifitse.errors import HifitseError, Interrupted, UsageError

_MAIN_RANK_SECONDS = 3
"""How long another rank waits with its complaint."""


def main() -> None:
    """Run the command line, and exit."""
    # Before anything that takes time to import.
    signals.end_in_order()
    try:
        code = _main()
    except signals.SignalReceived as received:
        # Before the command began, or while its end was being reported.
        code = received.exit_code
        with contextlib.suppress(OSError):
            os.write(2, b"interrupted\n")
    signals.ignore_signals()
    if _rank() is not None:
        # An orderly end takes down torch's connections while threads still use them, and that may abort.
        os._exit(code)
    sys.exit(code)


def _main() -> int:
    from hifitse import console

    _open_missing_streams()
    with console.lasting_streams():
        rank = _rank()
        if rank is not None:
            end_with_launcher()
        if rank:
            console.mute()
        return _run(rank or 0)


def _open_missing_streams() -> None:
    """Let no file of ours get the number of a standard stream that the caller has closed: others write to that."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdout, sys.stderr = (stream or open(os.devnull, "w") for stream in (sys.stdout, sys.stderr))


def _rank() -> int | None:
    """Return the number of this process among its ranks, None if it is alone."""
    try:
        place = read_place()
    except UsageError:
        # A command that trains is going to complain.
        return None
    return place.rank if place.size > 1 else None


def _run(rank: int) -> int:
    """Run a command and return its exit code; an error is one line."""
    from hifitse import console
    from hifitse.commands._app import app
    from hifitse.commands._traceback import internal_error, note_run

    console.begin()
    note_run(None)
    try:
        code = _exit_code(app)
        sys.stdout.flush()
        return code
    except signals.SignalReceived as received:
        console.info("interrupted")
        return received.exit_code
    except Interrupted as error:
        console.info(str(error))
        return error.exit_code
    except HifitseError as error:
        return _fail(str(error), error.exit_code, rank)
    except BrokenPipeError:
        # Who reads stdout has seen enough.
        return 1
    except Exception as error:
        if code_of_signal := signals.ending_exit_code():
            # Something made another error of what the signal raised.
            console.info("interrupted")
            return code_of_signal
        if isinstance(error, OSError) and error.filename is not None:
            # A folder that cannot be written, a full disk: the system's own words name it best.
            return _fail(f"{error.filename}: {error.strerror}", 1, rank)
        return _fail(internal_error(error), 1, rank)


def _exit_code(app: Callable[[], object]) -> int:
    try:
        app()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return 0


def _fail(message: str, code: int, rank: int) -> int:
    from hifitse import console

    if rank:
        # What went wrong here may have gone wrong on the main rank, too: then the launcher ends this one meanwhile.
        time.sleep(_MAIN_RANK_SECONDS)
        sys.stderr.write(f"error of rank {rank}: {message}\n")
    elif message:
        console.fail(message, code)
    return code
