"""Walking and reading: what is no recording is left out by name, and nothing takes longer than it has to."""

import json
import os
import shutil
import socket
import sys
import time
from pathlib import Path

import pytest

from hifitse.audio.header_cache import cache_folder
from hifitse.corpus.scan import scan
from tests.helpers import SPEECH

UTTERANCES = sorted(SPEECH.rglob("*.flac"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two speakers with two recordings each."""
    root = tmp_path / "root"
    for number, name in enumerate(("a/1.flac", "a/2.flac", "b/1.flac", "b/2.flac")):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(UTTERANCES[number], root / name)
    return root


def names(root: Path) -> list[str]:
    return [recording.name for recording in scan(root, "data.speech").recordings]


WHOLE = ["a/1.flac", "a/2.flac", "b/1.flac", "b/2.flac"]


def test_pipes_sockets_and_devices_are_left_out_by_name_and_never_opened(root: Path) -> None:
    os.mkfifo(root / "a" / "pipe.wav")
    (root / "a" / "zero.wav").symlink_to("/dev/zero")
    (root / "a" / "folder.wav").mkdir()
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(root / "b" / "socket.wav"))
    found = scan(root, "data.speech")
    assert [recording.name for recording in found.recordings] == WHOLE
    assert sorted(found.problems) == [
        f"{root}/{name}: not a regular file" for name in ("a/pipe.wav", "a/zero.wav", "b/socket.wav")
    ]


@pytest.mark.parametrize("name", ["loop", "loop.wav"])
def test_a_link_to_itself_is_no_error_of_the_corpus(root: Path, name: str) -> None:
    (root / "a" / name).symlink_to(name)
    found = scan(root, "data.speech")
    assert [recording.name for recording in found.recordings] == WHOLE
    assert [problem.split(": ")[0] for problem in found.problems] == [f"{root}/a/{name}"] * name.endswith("wav")


def test_folders_that_link_to_each_other_are_looked_into_once(root: Path) -> None:
    folders = [root / f"speaker{number:02d}" for number in range(12)]
    for number, folder in enumerate(folders):
        folder.mkdir()
        shutil.copy(UTTERANCES[number], folder / "1.flac")
    for folder in folders:
        for other in folders:
            (folder / f"to_{other.name}").symlink_to(other)
    started = time.monotonic()
    assert names(root) == [*WHOLE, *(f"{folder.name}/1.flac" for folder in folders)], "each where it lies"
    assert time.monotonic() - started < 5


def test_a_folder_elsewhere_is_followed_and_one_that_is_linked_twice_counts_once(root: Path, tmp_path: Path) -> None:
    (root / "c").mkdir()
    shutil.move(root / "b", tmp_path / "elsewhere")
    for name in ("y", "x"):
        (root / "c" / name).symlink_to(tmp_path / "elsewhere")
    assert names(root) == ["a/1.flac", "a/2.flac", "c/x/1.flac", "c/x/2.flac"]


def test_names_that_are_no_text_are_left_out_by_name(root: Path) -> None:
    odd = os.fsdecode(b"\xff\xfe.flac")
    shutil.copy(UTTERANCES[4], root / "a" / odd)
    (root / os.fsdecode(b"c\xff")).mkdir()
    shutil.copy(UTTERANCES[5], root / os.fsdecode(b"c\xff") / "1.flac")
    for name in ("a b\n[bold].flac", "é\x1b[31m:100:.flac"):
        shutil.copy(UTTERANCES[6], root / "b" / name)
    found = scan(root, "data.speech")
    assert sorted(found.problems) == [
        f"{root}/a/{odd}: its name is not UTF-8; rename it",
        f"{root}/c\udcff: its name is not UTF-8; rename it",
    ]
    assert len(found.recordings) == 6
    assert scan(root, "data.speech").recordings == found.recordings, "from the cache, too"


def test_a_tree_deeper_than_any_path_is_read_down_to_where_paths_end(tmp_path: Path) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(50):
        os.mkdir("d" * 100, dir_fd=here)
        below = os.open("d" * 100, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    shutil.copy(UTTERANCES[0], tmp_path / ("d" * 100) / "1.flac")
    found = scan(tmp_path, "data.speech")
    assert [recording.name for recording in found.recordings] == [f"{'d' * 100}/1.flac"]
    assert len(found.problems) == 1 and found.problems[0].endswith("file name too long")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may list any folder")
def test_a_folder_that_may_not_be_listed_is_named(root: Path) -> None:
    (root / "a").chmod(0)
    found = scan(root, "data.speech")
    assert found.problems == [f"{root}/a: permission denied"] and len(found.recordings) == 2
    (root / "a").chmod(0o700)


def test_what_a_damaged_cache_says_is_not_believed(root: Path) -> None:
    before = scan(root, "data.speech").recordings
    (cached,) = cache_folder().iterdir()
    whole = cached.read_text()
    rate, limit = before[0].sample_rate, sys.getrecursionlimit()
    for damaged in (
        whole.replace(f" {rate}, ", f" {rate + 1}, ", 1),
        json.dumps({"version": 2, "files": {name: [1, 2, 3] for name in WHOLE}}),
        json.dumps({"version": 2, "files": {name: ["1", 2, 3, 4] for name in WHOLE}}),
        json.dumps({"version": 2, "files": []}),
        "[" * 100_000,
        "",
    ):
        assert damaged != whole
        cached.write_text(damaged)
        assert scan(root, "data.speech").recordings == before
    assert sys.getrecursionlimit() == limit
