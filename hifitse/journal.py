"""Logs of JSON rows, one a line, only ever appended to: metrics.jsonl and events.jsonl."""

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
        try:
            self.flush()
        except OSError:
            pass

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
    data = lines(rows).encode()
    with path.open("ab+", buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        if end:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                data = b"\n" + data
        if file.write(data) < len(data):
            file.truncate(end)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a log, oldest first; lines that a crash has cut are left out."""
    text = path.read_text(errors="replace") if path.exists() else ""
    return [row for line in text.splitlines() if (row := _parsed(line)) is not None]


def lines(rows: Iterable[Row]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def _parsed(line: str) -> Row | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None
