"""An archived branch is restored whole, and what it replaces is archived whole."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from hifitse.checkpoint.file import Header, load_checkpoint, load_header, save_checkpoint
from hifitse.errors import RecordError, UsageError
from hifitse.runs.branches import archive_after, archive_copy, branch_points, new_folder
from hifitse.runs.records import Best, read_best
from hifitse.runs.restore import restore
from hifitse.runs.run import Run
from hifitse.storage import write_json
from tests.helpers import append_rows

Content = dict[str, bytes]


def grow(run: Run, branch: str, last: int) -> None:
    """Go on from the newest checkpoint with one every 10 steps, each with a validation and two rows."""
    first = max(run.checkpoint_steps(), default=0)
    parent = load_header(run.checkpoint_path(first))[1] if first else None
    run.path.mkdir(exist_ok=True)
    run.config_path.write_text(f"branch: {branch}\n")
    for step in range(first + 10, last + 1, 10):
        header = Header(step, {"branch": branch}, "", parent)
        parent = save_checkpoint(run.checkpoint_path(step), header, {"model/w": torch.ones(2)})
        write_json(run.validation_path(step), {"branch": branch, "raw_metrics": {}})
        for row_step in (step - 5, step):
            append_rows(run.metrics_path, {"kind": "step", "step": row_step, "branch": branch})
    write_json(run.best_path, {"step": last, "metric": "tp_si_sdr", "value": float(ord(branch))})


def go_back(run: Run, step: int) -> None:
    archive_after(run, step)


def roll_back(run: Run, step: int) -> None:
    """Go back as a guard does: the checkpoint of that step is replaced by one that descends from it."""
    folder = new_folder(run)
    archive_copy(run, step, folder)
    kept = load_checkpoint(run.checkpoint_path(step))
    header = Header(step, {"branch": "cut"}, "", kept.digest, learning_rate_factor=0.5)
    save_checkpoint(run.checkpoint_path(step), header, kept.tensors)
    archive_after(run, step, folder)


def content(run: Run) -> Content:
    """Return all files of the run but its archived branches."""
    files = [path for path in sorted(run.path.rglob("*")) if path.is_file() and "abandoned" not in path.parts]
    return {str(path.relative_to(run.path)): path.read_bytes() for path in files if path.name != "lock"}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run(tmp_path / "run")
    grow(run, "a", 50)
    return run


@pytest.mark.parametrize("cut", [go_back, roll_back])
@pytest.mark.parametrize("last", [20, 40, 60])
def test_a_branch_comes_back_as_it_was_and_twice_undoes_it(
    run: Run, cut: Callable[[Run, int], None], last: int
) -> None:
    original = content(run)
    cut(run, 20)
    if last > 20:
        grow(run, "b", last)
    second = content(run)
    done = restore(run, "1")
    assert content(run) == original
    assert (done.after_step, done.last_step, done.aside) == (20, 50, "02")
    assert [folder.name for folder in run.archived_folders()] == ["02"]
    restore(run, done.aside)
    assert content(run) == second
    restore(run, "03")
    assert content(run) == original


def test_a_best_that_was_chosen_since_comes_back_too(run: Run) -> None:
    go_back(run, 20)
    write_json(run.best_path, {"step": 10, "metric": "tp_si_sdr", "value": 2.0})
    second = content(run)
    restore(run, "01")
    assert read_best(run) == Best(step=50, metric="tp_si_sdr", value=float(ord("a")))
    restore(run, "02")
    assert content(run) == second


def test_a_branch_is_restored_only_onto_the_checkpoint_that_it_continues(run: Run) -> None:
    original = content(run)
    go_back(run, 30)
    go_back(run, 10)
    grow(run, "b", 40)
    before = content(run)
    with pytest.raises(UsageError, match="another checkpoint of step 30.*abandoned/02: restore that one first"):
        restore(run, "01")
    assert content(run) == before
    restore(run, "02")
    restore(run, "01")
    assert content(run) == original


def test_after_two_rollbacks_to_one_step_either_branch_fits(run: Run) -> None:
    original = content(run)
    for branch in ("b", "c"):
        roll_back(run, 20)
        grow(run, branch, 40)
    restore(run, "01")
    assert content(run) == original


def test_a_rolled_back_branch_does_not_fit_onto_another_history(run: Run) -> None:
    roll_back(run, 30)
    go_back(run, 10)
    grow(run, "b", 40)
    with pytest.raises(UsageError, match="abandoned/02: restore that one first"):
        restore(run, "01")


def test_a_branch_that_is_not_there_or_not_whole_is_named(run: Run) -> None:
    with pytest.raises(UsageError, match="no archived branch 7; the run has none"):
        restore(run, "7")
    go_back(run, 30)
    with pytest.raises(UsageError, match="no archived branch x; there are 01"):
        restore(run, "x")
    (run.path / "abandoned" / "01" / "branch.json").unlink()
    with pytest.raises(UsageError, match="not a whole branch.*resume --from FILE"):
        restore(run, "01")


@pytest.mark.parametrize("cut", [go_back, roll_back])
def test_a_note_of_an_older_run_is_read_and_removed_as_a_new_one(run: Run, cut: Callable[[Run, int], None]) -> None:
    original = content(run)
    cut(run, 20)
    folder = run.archived_folders()[0]
    (folder / "branch.json").rename(folder / "line.json")
    assert branch_points(run) == {20}
    grow(run, "b", 40)
    restore(run, "01")
    assert content(run) == original
    assert not folder.exists()


@pytest.mark.parametrize("note", ["", "[]", '{"after_step": "x", "digest": null}'])
def test_a_note_that_cannot_be_read_is_named_and_nothing_is_moved(run: Run, note: str) -> None:
    go_back(run, 20)
    before = content(run)
    (run.path / "abandoned" / "01" / "branch.json").write_text(note)
    for read in (branch_points, lambda run: restore(run, "01")):
        with pytest.raises(RecordError, match=r"abandoned/01/branch\.json: unreadable"):
            read(run)
    assert content(run) == before
    assert [folder.name for folder in run.archived_folders()] == ["01"]
