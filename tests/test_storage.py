"""Files are whole or absent, whatever a crash or a full disk does to a write."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hifitse.json_log import append_bytes
from hifitse.storage import atomic_file, is_locked, locked, remove_leftovers, write_json, write_text
from tests.helpers import files_no_longer_than


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, ValueError])
def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "best.json"
    write_text(path, "old")
    with pytest.raises(error), atomic_file(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "best.json"
    write_json(path, {"step": 1})
    with files_no_longer_than(4), pytest.raises(OSError):
        write_json(path, {"step": 2})
    assert json.loads(path.read_text()) == {"step": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_a_new_file_gets_its_folder_and_the_mode_of_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "text.txt"
    write_text(path, "text")
    mask = os.umask(0)
    os.umask(mask)
    assert path.read_text() == "text"
    assert path.stat().st_mode & 0o777 == 0o666 & ~mask


def test_two_writers_of_one_file_do_not_share_a_temporary_one(tmp_path: Path) -> None:
    path = tmp_path / "best.json"
    with atomic_file(path) as first, atomic_file(path) as second:
        assert first != second
        assert first.name.startswith(".best.json.") and first.suffix == ".tmp" and first.parent == path.parent
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first", "the last to end"


def test_what_a_killed_write_has_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    kept = [tmp_path / name for name in ("best.json", "notes.tmp", ".hidden")]
    left = [tmp_path / name for name in (".best.json.abc123.tmp", ".best.json.tmp", ".tmpAbC123")]
    for path in [*kept, *left]:
        path.write_text("text")
    assert remove_leftovers(tmp_path) == sorted(left)
    assert sorted(tmp_path.iterdir()) == sorted(kept)
    assert remove_leftovers(tmp_path / "none") == []


# Locks


def test_a_lock_is_held_by_one_and_ends_with_its_block(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not is_locked(path) and not path.exists(), "to look takes nothing and makes nothing"
    with locked(path):
        assert is_locked(path)
        with pytest.raises(BlockingIOError), locked(path):
            pass
        assert is_locked(path)
    assert not is_locked(path)
    with locked(path):
        pass


def test_a_folder_can_be_held_too(tmp_path: Path) -> None:
    with locked(tmp_path, wait=True), pytest.raises(BlockingIOError), locked(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_without_modes_is_no_reason_not_to_save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "chmod", refuse)
    write_text(tmp_path / "file", "text")
    assert (tmp_path / "file").read_text() == "text"


def test_an_error_of_a_full_disk_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for write in (lambda: write_text(path, "text"), lambda: append_bytes(path, b"text")):
        with files_no_longer_than(0), pytest.raises(OSError) as caught:
            write()
        assert caught.value.filename == str(path)


def test_writers_of_one_file_do_not_collide(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda digit: write_text(path, digit * 10_000), "0123456789"))
    assert len(path.read_text()) == 10_000 and len(set(path.read_text())) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["file"]
