"""A run directory: which checkpoint is meant, what is moved where, and who may write."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hifitse.checkpoint.file import Header, load_checkpoint, save_checkpoint
from hifitse.errors import CheckpointError, UsageError
from hifitse.runs.branches import archive_after
from hifitse.runs.checkpoint_ref import CheckpointRef, owns
from hifitse.runs.records import read_metrics
from hifitse.runs.run import Run
from hifitse.storage import write_json
from tests.helpers import append_rows


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run(tmp_path / "run")
    for step in (10, 20, 30):
        save_checkpoint(run.checkpoint_path(step), Header(step, {}, ""), {"model/w": torch.full((2,), float(step))})
        write_json(run.validation_path(step), {"step": step})
    for step in range(1, 36):
        append_rows(run.metrics_path, {"kind": "step", "step": step})
    return run


def test_the_newest_valid_checkpoint_is_the_last_one(run: Run) -> None:
    checkpoint, skipped = CheckpointRef("last").load(run)
    assert (checkpoint.header.step, skipped) == (30, [])
    run.checkpoint_path(30).write_bytes(b"torn")
    checkpoint, skipped = CheckpointRef("last").load(run)
    assert checkpoint.header.step == 20
    assert "step_00000030" in skipped[0]


def test_without_a_valid_checkpoint_nothing_starts_over_in_silence(run: Run) -> None:
    for step in (10, 20, 30):
        run.checkpoint_path(step).write_bytes(b"")
    with pytest.raises(CheckpointError, match="no valid checkpoint"):
        CheckpointRef("last").load(run)


def test_a_missing_checkpoint_is_named_with_its_neighbours(run: Run) -> None:
    with pytest.raises(UsageError, match="no checkpoint at step 25; nearest: 10, 20, 30"):
        CheckpointRef("25").load(run)
    with pytest.raises(UsageError, match="select-best"):
        CheckpointRef("best").load(run)
    with pytest.raises(UsageError, match="neither a step"):
        CheckpointRef("nowhere.safetensors").load(run)


def test_a_checkpoint_is_named_by_step_last_best_or_file(run: Run, tmp_path: Path) -> None:
    write_json(run.best_path, {"step": 20, "metric": "tp_si_sdr", "value": 1.0})
    file = run.checkpoint_path(10).rename(tmp_path / "mine.safetensors")
    for text, path in (
        ("20", run.checkpoint_path(20)),
        ("last", run.checkpoint_path(30)),
        ("best", run.checkpoint_path(20)),
        (str(file), file),
    ):
        assert CheckpointRef(text).path(run) == path
    assert CheckpointRef(str(file)).load(run)[0].header.step == 10


def test_a_run_owns_what_it_has_at_that_step_and_nothing_else(run: Run, tmp_path: Path) -> None:
    other = Run(tmp_path / "other")
    save_checkpoint(other.checkpoint_path(20), Header(20, {}, ""), {"model/w": torch.zeros(2)})
    save_checkpoint(other.checkpoint_path(40), Header(40, {}, ""), {"model/w": torch.zeros(2)})
    assert owns(run, load_checkpoint(run.checkpoint_path(20)))
    assert not owns(run, load_checkpoint(other.checkpoint_path(20)))
    assert not owns(run, load_checkpoint(other.checkpoint_path(40)))


def test_a_resume_from_an_older_step_moves_the_newer_things_and_deletes_nothing(run: Run) -> None:
    folder = archive_after(run, 20)
    assert folder == run.path / "abandoned" / "01"
    assert run.checkpoint_steps() == run.validation_steps() == [10, 20]
    assert [row.step for row in read_metrics(run)] == list(range(1, 21))
    archived = Run(folder)
    assert archived.checkpoint_steps() == archived.validation_steps() == [30]
    assert [row.step for row in read_metrics(archived)] == list(range(21, 36))
    assert archive_after(run, 20) is None
    assert archive_after(run, 10) == run.path / "abandoned" / "02"


def test_exchanged_checkpoints_are_skipped_by_name(run: Run) -> None:
    aside = run.checkpoint_path(30).rename(run.path / "aside")
    run.checkpoint_path(20).rename(run.checkpoint_path(30))
    aside.rename(run.checkpoint_path(20))
    checkpoint, skipped = CheckpointRef("last").load(run)
    assert checkpoint.header.step == 10
    assert "step_00000030" in skipped[0] and "it holds step 20" in skipped[0]
    assert "step_00000020" in skipped[1] and "it holds step 30" in skipped[1]


def test_one_process_writes_a_run_and_a_dead_one_holds_no_lock(run: Run) -> None:
    code = f"""
import sys, time
from pathlib import Path
from hifitse.runs.run import Run
with Run(Path({str(run.path)!r})).lock():
    print("locked", flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(UsageError, match=f"process {other.pid} on"):
            with run.lock():
                pass
        other.kill()
    with run.lock():
        pass
