import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hifitse.checkpoint import file as checkpoints
from hifitse.checkpoint.file import Header
from hifitse.errors import CheckpointError, UsageError
from hifitse.runs.branches import set_aside_after
from hifitse.runs.jsonl import append_rows
from hifitse.runs.run import Run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run(tmp_path / "run")
    for step in (10, 20, 30):
        checkpoints.save(run.checkpoint_path(step), Header(step, {}, ""), {"model/w": torch.full((2,), float(step))})
        run.write_exam(step, {"step": step})
    for step in range(1, 36):
        append_rows(run.metrics_path, [{"step": step}])
    return run


def test_the_newest_valid_checkpoint_is_the_last_one(run: Run) -> None:
    checkpoint, skipped = run.load("last")
    assert (checkpoint.header.step, skipped) == (30, [])
    run.checkpoint_path(30).write_bytes(b"torn")
    checkpoint, skipped = run.load("last")
    assert checkpoint.header.step == 20
    assert "step_00000030" in skipped[0]


def test_without_a_valid_checkpoint_nothing_starts_over_in_silence(run: Run) -> None:
    for step in (10, 20, 30):
        run.checkpoint_path(step).write_bytes(b"")
    with pytest.raises(CheckpointError, match="no valid checkpoint"):
        run.load("last")


def test_a_missing_checkpoint_is_named_with_its_neighbours(run: Run) -> None:
    with pytest.raises(UsageError, match="no checkpoint at step 25; nearest: 10, 20, 30"):
        run.load("25")
    with pytest.raises(UsageError, match="select-best"):
        run.load("best")
    with pytest.raises(UsageError, match="neither a step"):
        run.load("nowhere.safetensors")


def test_a_resume_from_an_older_step_moves_the_newer_things_and_deletes_nothing(run: Run) -> None:
    folder = set_aside_after(run, 20)
    assert folder == run.path / "abandoned" / "01"
    assert run.checkpoint_steps() == run.exam_steps() == [10, 20]
    assert [row["step"] for row in run.read_metrics()] == list(range(1, 21))
    aside = Run(folder)
    assert aside.checkpoint_steps() == aside.exam_steps() == [30]
    assert [row["step"] for row in aside.read_metrics()] == list(range(21, 36))
    assert set_aside_after(run, 20) is None
    assert set_aside_after(run, 10) == run.path / "abandoned" / "02"


def test_exchanged_checkpoints_are_skipped_by_name(run: Run) -> None:
    aside = run.checkpoint_path(30).rename(run.path / "aside")
    run.checkpoint_path(20).rename(run.checkpoint_path(30))
    aside.rename(run.checkpoint_path(20))
    checkpoint, skipped = run.load("last")
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
