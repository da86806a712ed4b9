"""Where the traceback of an error goes that nobody expected: into a file, so that people see one line."""

import os
import shlex
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

from hifitse.errors import HifitseError
from hifitse.storage import write_text

_run_folder: Path | None = None


def note_run(folder: Path | None) -> None:
    """Note the folder of the run that the command is about, if it is about one; it need not exist."""
    global _run_folder
    _run_folder = folder


def internal_error(error: Exception) -> str:
    """Keep the traceback of an error in the run's folder, else in the cache folder, and return the line to be said."""
    reason = next(iter(str(error).splitlines()), "")
    said = f"internal error: {type(error).__name__}{reason and f': {reason}'}"
    command = shlex.join(["hifitse", *sys.argv[1:]])
    text = f"{command}\n\n{''.join(traceback.format_exception(error))}"
    for folder in _folders():
        file = folder / f"traceback_{time.strftime('%Y%m%d_%H%M%S')}_{os.getpid()}.txt"
        try:
            write_text(file, text)
        except OSError:
            continue
        return f"{said}; the traceback is in {file}"
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{said}; in {place.filename}:{place.lineno}, and there is no disk to write the traceback to"


def _folders() -> Iterator[Path]:
    from hifitse.audio.header_cache import cache_folder

    if _run_folder and _run_folder.is_dir():
        yield _run_folder
    try:
        yield cache_folder()
    except HifitseError:
        pass
    yield Path(tempfile.gettempdir())
