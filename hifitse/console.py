"""Two consoles: data goes to stdout, everything said to people goes to stderr."""

import contextlib
import datetime
import io
import json
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.markup import escape
from rich.text import Text

# What is printed holds names of files and settings: nothing in it is an emoji, a number to be coloured or markup.
out = Console(highlight=False, emoji=False)
err = Console(stderr=True, highlight=False, emoji=False)
_printed_json = False
_said: list[str] = []
"""What was shown to people, as long as no file takes it."""
_log: int | None = None
"""Descriptor of the file that takes it, too."""
_MOST_SAID = 1000


def mute() -> None:
    """Say nothing from here on: of several ranks, only the main one talks."""
    out.quiet = err.quiet = True


def begin() -> None:
    """Forget what was printed and said: another command begins."""
    global _printed_json, _log
    _printed_json = False
    _said.clear()
    if _log is not None:
        os.close(_log)
        _log = None


def also_into(path: Path) -> None:
    """Append what is said from here on to a file as well, after what this command has said so far.

    What the disk does not take is left out.
    """
    global _log
    with contextlib.suppress(OSError):
        _log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        _to_log("".join([_stamped(shlex.join(["hifitse", *sys.argv[1:]])), *_said]))


def info(message: str) -> None:
    """Tell the user something, on stderr."""
    _to_err(escape(clean(message)))


def warn(message: str) -> None:
    _to_err(f"[yellow]warning:[/] {escape(clean(message))}")


def fail(message: str, exit_code: int) -> None:
    """Say why a command ends; with ``--json`` also on stdout, unless the result stands there already."""
    _to_err(f"[bold red]error:[/] {escape(clean(message))}")
    if "--json" in sys.argv and not _printed_json:
        with contextlib.suppress(OSError):
            print_json({"error": message, "exit_code": exit_code})
            sys.stdout.flush()


def urgent(message: str) -> None:
    """Tell the user something from within a signal handler, where a print may have been cut off."""
    if not err.quiet:
        with contextlib.suppress(OSError):
            os.write(2, f"{message}\n".encode())
    _to_log(_stamped(message))


class _Stdout(io.FileIO):
    """Standard output, whose errors name it."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            error.filename = "stdout"
            raise


class _Stderr(io.FileIO):
    """Standard error as long as it can be written; what it does not take is dropped."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data) or len(data)
        except OSError:
            return len(data)


@contextlib.contextmanager
def lasting_streams() -> Iterator[None]:
    """Inside, no disk that is full, pipe that is closed or terminal that is gone ends what writes to stderr."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _reopened(sys.stdout, _Stdout), _reopened(sys.stderr, _Stderr)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        sys.stdout, sys.stderr = before


def _reopened(stream: TextIO, raw: type[io.FileIO]) -> TextIO:
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):
        # A notebook or a test keeps what is written.
        return stream
    with contextlib.suppress(OSError):
        stream.flush()
    buffered = io.BufferedWriter(raw(descriptor, "w", closefd=False))
    is_lines = stream is sys.stderr or stream.isatty()
    return io.TextIOWrapper(buffered, stream.encoding, stream.errors, line_buffering=is_lines)


def clean(text: str) -> str:
    """Return text as it may go to a terminal: control characters, and what is no text at all, are spelled out."""
    return "".join(char if char == "\n" or char.isprintable() else _spelled(char) for char in text)


def cell(text: object) -> str:
    """Return a name or a value as it may stand in a line or a table of rich: text, never markup."""
    return escape(clean(str(text)).replace("\n", "\\n"))


def _spelled(char: str) -> str:
    return char.encode("unicode_escape", "surrogatepass").decode("ascii")


def _to_err(markup: str) -> None:
    # Lines of a pipe stay whole, whatever their length.
    err.print(markup, soft_wrap=not err.is_terminal)
    if not err.quiet:
        line = _stamped(Text.from_markup(markup).plain)
        if _log is not None:
            _to_log(line)
        elif len(_said) < _MOST_SAID:
            _said.append(line)


def into_log(message: str) -> None:
    """Say something in the log file alone, if there is one."""
    _to_log(_stamped(clean(message)))


def _stamped(text: str) -> str:
    return f"{datetime.datetime.now().astimezone().isoformat(timespec='seconds')}  {text}\n"


def _to_log(lines: str) -> None:
    if _log is not None:
        with contextlib.suppress(OSError):
            os.write(_log, lines.encode(errors="backslashreplace"))


def print_line(message: str) -> None:
    """Write a line of data to stdout; on a terminal it breaks at words, in a pipe it stays whole."""
    out.print(escape(clean(message)), soft_wrap=not out.is_terminal)


def print_text(text: str) -> None:
    """Write text to stdout as it is."""
    if not out.quiet:
        sys.stdout.write(text)


def print_json(data: Any) -> None:
    """Write data to stdout as JSON; NaN and infinity, which JSON has not, become null."""
    global _printed_json
    _printed_json = True
    print_text(json.dumps(_finite(data), indent=2) + "\n")


def duration(seconds: float) -> str:
    """Return a time span in words."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    if seconds < 172800:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.0f} days"


def _finite(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    if isinstance(data, float) and (data != data or data in (float("inf"), float("-inf"))):
        return None
    return data
