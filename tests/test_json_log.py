"""What is in a log stays there, whatever a crash or a full disk does to its end."""

from pathlib import Path
from typing import Any

import pytest

from hifitse.json_log import JsonLog, read_rows
from tests.helpers import files_no_longer_than

ROWS = [{"step": 1, "terms": {"loss": 0.5}}, {"step": 2, "terms": {"loss": 0.25}}]


def append(path: Path, rows: list[dict[str, Any]]) -> None:
    log = JsonLog(path)
    log.waiting = list(rows)
    log.flush()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metrics.jsonl"


def test_a_row_that_was_cut_anywhere_costs_no_other(path: Path) -> None:
    append(path, ROWS)
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for end in range(len(whole) + 1):
        path.write_bytes(whole[:end])
        append(path, [{"step": 3}])
        expected = [
            row for row, is_whole in zip(ROWS, (end >= first - 1, end >= len(whole) - 1), strict=True) if is_whole
        ]
        assert read_rows(path) == [*expected, {"step": 3}]


def test_zeros_and_bytes_of_no_text_are_left_out(path: Path) -> None:
    append(path, ROWS[:1])
    path.write_bytes(path.read_bytes() + bytes(20) + b"\xff{}")
    append(path, ROWS[1:])
    assert read_rows(path) == ROWS


def test_rows_are_appended_all_or_none(path: Path) -> None:
    append(path, ROWS[:1])
    size = path.stat().st_size
    with files_no_longer_than(size + 10), pytest.raises(OSError):
        append(path, ROWS)
    assert path.stat().st_size == size


def test_what_a_full_disk_does_not_take_is_written_later_in_order(path: Path) -> None:
    log = JsonLog(path)
    with files_no_longer_than(0):
        for row in ROWS:
            log.append(row)
        with pytest.raises(OSError):
            log.flush()
    assert read_rows(path) == []
    log.append({"step": 3})
    assert read_rows(path) == [*ROWS, {"step": 3}]
