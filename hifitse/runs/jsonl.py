"""Logs of JSON rows, one a line, only ever appended to: metrics.jsonl and events.jsonl."""

import contextlib
import errno
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Row = dict[str, Any]


class Journal:
    """A log that is being written. Rows that a full disk does not take wait here for the next occasion."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.waiting: list[Row] = []

    def append(self, row: Row) -> None:
        self.waiting.append(row)
        with contextlib.suppress(OSError):
            self.flush()

    def flush(self) -> None:
        """Write what waits.

        Raises:
            OSError: the file still cannot be written.
        """
        if self.waiting:
            append_rows(self.path, self.waiting)
            self.waiting = []


def append_rows(path: Path, rows: Iterable[Row]) -> None:
    """Append all of these rows or, with an OSError, none; on a line of their own, whatever a crash has left."""
    append_bytes(path, (b"" if _ends_with_line(path) else b"\n") + lines(rows).encode())


def append_bytes(path: Path, data: bytes) -> None:
    """Append all of these bytes or, with an OSError, none."""
    with path.open("ab", buffering=0) as file:
        end = file.tell()
        if file.write(data) < len(data):
            file.truncate(end)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a log, oldest first; lines that a crash has cut are left out."""
    text = path.read_text(errors="replace") if path.exists() else ""
    return [row for line in text.splitlines() if (row := _parsed(line)) is not None]


def lines(rows: Iterable[Row]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def _ends_with_line(path: Path) -> bool:
    if not path.exists() or path.stat().st_size == 0:
        return True
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read() == b"\n"


def _parsed(line: str) -> Row | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None
