"""What a kill cuts off, whenever it comes, the same command finishes; a branch is never split."""

import itertools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hifitse.checkpoint.file import load_checkpoint
from hifitse.config.files import load_config
from hifitse.errors import UsageError
from hifitse.runs.branches import archive_after
from hifitse.runs.fork import fork
from hifitse.runs.restore import restore
from hifitse.runs.run import Run
from tests.runs.killed import killed_at
from tests.runs.test_branches import content, go_back, grow, roll_back


@pytest.fixture(params=[go_back, roll_back])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    """Branch a is archived, branch b in place."""
    run = Run(tmp_path / "run")
    grow(run, "a", 40)
    request.param(run, 20)
    grow(run, "b", 40)
    return run


def folders(run: Run) -> list[str]:
    return sorted(path.name for path in run.archive_path.iterdir())


@pytest.fixture(autouse=True)
def no_syncs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill is no power cut, and syncing takes most of the time."""
    monkeypatch.setattr("hifitse.storage.sync", lambda path: None)


@pytest.fixture(params=[pytest.param(5, id="some"), pytest.param(1, id="all", marks=pytest.mark.attack)])
def every(request: pytest.FixtureRequest) -> int:
    """Which of the operations are killed: every fifth, or each of them."""
    return int(request.param)


def kills(run: Run, action: Callable[[Run], object], every: int) -> Iterator[Run]:
    """Yield copies of a run in which an action was killed before one of its operations on files."""
    copy = Run(run.path.parent / "killed")
    for operation in itertools.count(step=every):
        shutil.rmtree(copy.path, ignore_errors=True)
        shutil.copytree(run.path, copy.path)
        if not killed_at(operation, lambda: action(copy)):
            assert operation > 10, "it does change something"
            return
        yield copy


def test_a_restore_that_was_killed_anywhere_is_finished_by_the_same_command(run: Run, every: int) -> None:
    whole = Run(Path(shutil.copytree(run.path, run.path.parent / "whole")))
    second = content(whole)
    restore(whole, "01")
    original = content(whole)
    for killed in kills(run, lambda copy: restore(copy, "01"), every):
        killed.remove_leftovers()
        if (killed.archive_path / "01").exists():
            assert restore(killed, "01").aside == "02"
        assert content(killed) == original
        assert folders(killed) == ["02"]
        restore(killed, "02")
        assert content(killed) == second, "the whole of what it replaced"


def test_going_back_that_was_killed_anywhere_is_finished_by_going_back_again(tmp_path: Path, every: int) -> None:
    run = Run(tmp_path / "run")
    grow(run, "a", 50)
    original = content(run)
    whole = Run(Path(shutil.copytree(run.path, tmp_path / "whole")))
    archive_after(whole, 20)
    for killed in kills(run, lambda copy: archive_after(copy, 20), every):
        killed.remove_leftovers()
        archive_after(killed, 20)
        assert content(killed) == content(whole)
        assert folders(killed) == ["01"], "one branch, not two"
        restore(killed, "01")
        assert content(killed) == original


def test_nothing_else_goes_on_after_a_restore_that_was_cut_off(run: Run, every: int) -> None:
    refused = 0
    for killed in kills(run, lambda copy: restore(copy, "01"), every):
        newest = max(killed.checkpoint_steps())
        before = {path.read_bytes() for path in killed.path.rglob("*.safetensors")}
        try:
            archive_after(killed, newest)
        except UsageError as error:
            assert f"hifitse runs restore --run {killed.path} 01" in str(error)
            refused += 1
        assert {path.read_bytes() for path in killed.path.rglob("*.safetensors")} == before
    assert refused > 10 / every


def test_a_fork_is_whole_or_not_there(tmp_path: Path, every: int) -> None:
    source = Run(tmp_path / "source")
    grow(source, "a", 30)
    # Its results are as small as the test needs them; a fork only links them.
    checkpoint, config = load_checkpoint(source.checkpoint_path(20)), load_config("demo")

    def make(target: Run) -> None:
        with target.lock():
            target.remove_leftovers()
            fork(source, source.checkpoint_path(20), checkpoint, target, config)

    make(Run(tmp_path / "whole"))
    expected = content(Run(tmp_path / "whole"))
    assert {"config.yaml", "origin.json", "metrics.jsonl", "checkpoints/step_00000020.safetensors"} <= expected.keys()
    for operation in itertools.count(step=every):
        target = Run(tmp_path / f"fork{operation}")
        if not killed_at(operation, lambda target=target: make(target)):
            break
        if not target.exists():
            assert not target.path.exists() or [path.name for path in target.path.iterdir()] in ([], ["lock"])
            make(target)
        assert content(target) == expected
        assert not target.leftover_path.exists()
    assert operation > 10


def test_a_fork_does_not_build_on_what_somebody_left(tmp_path: Path) -> None:
    source, target = Run(tmp_path / "source"), Run(tmp_path / "target")
    grow(source, "a", 10)
    target.path.mkdir()
    (target.path / "notes.txt").touch()
    file = source.checkpoint_path(10)
    with target.lock(), pytest.raises(UsageError, match=r"target: not empty \(notes.txt\)"):
        fork(source, file, load_checkpoint(file), target, load_config("demo"))


def test_files_of_others_in_an_archive_stay(run: Run) -> None:
    (run.path / "abandoned" / "01" / "notes.txt").touch()
    restore(run, "01")
    assert [path.name for path in (run.path / "abandoned" / "01").iterdir() if path.is_file()] == ["notes.txt"]
