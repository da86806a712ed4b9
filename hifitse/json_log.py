"""Logs of JSON rows, one a line, that survive a crash and a full disk: they are only appended to."""

import contextlib
import errno
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from hifitse.storage import naming, opened, read_bytes

Row = dict[str, Any]
"""A line of a JSON log."""


class JsonLog:
    """A log of JSON rows, one a line, that is appended to. Rows that a full disk does not take wait here."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.waiting: list[Row] = []

    def append(self, row: Row) -> None:
        """Write a row now, or with the next one that can be written."""
        self.waiting.append(row)
        with contextlib.suppress(OSError):
            self.flush()

    def flush(self) -> None:
        """Write what waits.

        Raises:
            OSError: the file still cannot be written.
        """
        if self.waiting:
            # On a line of its own, whatever a crash has left.
            start = b"" if _ends_with_line(self.path) else b"\n"
            append_bytes(self.path, start + json_lines(self.waiting).encode())
            self.waiting = []


def append_bytes(path: Path, data: bytes) -> None:
    """Append all of these bytes or, with an OSError, none."""
    with naming(path), path.open("ab", buffering=0) as file:
        end = file.tell()
        if file.write(data) < len(data):
            file.truncate(end)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a log, oldest first; lines that a crash has cut are left out.

    Raises:
        OSError: it cannot be read.
    """
    try:
        lines = read_bytes(path).splitlines()
    except FileNotFoundError:
        return []
    return [row for line in lines if (row := _parsed(line)) is not None]


def read_new_rows(path: Path, offset: int) -> tuple[list[Row], int]:
    """Return the rows of a log from an offset in bytes on, and the offset behind them; an unfinished line is left.

    Raises:
        OSError: it cannot be read.
    """
    try:
        with opened(path) as file:
            file.seek(offset)
            data = file.read()
    except FileNotFoundError:
        return [], offset
    whole = data[: data.rfind(b"\n") + 1]
    return [row for line in whole.splitlines() if (row := _parsed(line)) is not None], offset + len(whole)


def json_lines(rows: Iterable[Row]) -> str:
    """Return rows as the text of a log."""
    return "".join(json.dumps(row) + "\n" for row in rows)


def _ends_with_line(path: Path) -> bool:
    if not path.exists() or path.stat().st_size == 0:
        return True
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() == b"\n"


def _parsed(line: bytes) -> Row | None:
    try:
        row = from_json(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None
