"""Reading lists: lines of words, and tables with a header."""

import csv
from pathlib import Path

from hifitse.errors import DataError


def read_lines(path: Path) -> list[list[str]]:
    """Return the words of each line that has any.

    Raises:
        DataError: it cannot be read as text.
    """
    return [words for line in _text(path).splitlines() if (words := line.split())]


def read_table(path: Path) -> tuple[list[str], list[list[str]]]:
    """Return the header of a CSV file, and its rows.

    Raises:
        DataError: it cannot be read as text, or a row has not as many fields as the header.
    """
    header, *rows = [[field.strip() for field in row] for row in csv.reader(_text(path).splitlines()) if row] or [[]]
    for number, row in enumerate(rows, 2):
        if len(row) != len(header):
            raise DataError(f"{path}: row {number} has {len(row)} fields, the header {len(header)}; correct it")
    return header, rows


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: is no text; give a list") from None
