"""Several processes train one model: the same result, one writer, and one end for all."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hifitse.checkpoint.file import load_checkpoint
from hifitse.distributed.ranks import Ranks
from hifitse.errors import UsageError
from hifitse.evaluation.result import read_result
from hifitse.runs.checkpoint_ref import CheckpointRef
from hifitse.runs.records import read_metrics
from hifitse.runs.run import Run
from tests.helpers import MUON, NETWORKS, TINY, Cli

HIFITSE = (sys.executable, "-m", "hifitse")
LONG = ("--set", "train.total_steps=100000", "--set", "train.validate_every=100000")


@given(st.integers(1, 64), st.integers(1, 8), st.integers(0, 10**6))
def test_ranks_share_a_step_without_gap_or_overlap(num_scenes: int, size: int, start: int) -> None:
    step = range(start, start + num_scenes)
    shares = [Ranks(rank, size).shard(step) for rank in range(size)]
    assert [index for share in shares for index in share] == list(step)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_single_process_is_the_plain_case() -> None:
    alone, tensor = Ranks(), torch.ones(3)
    alone.all_reduce_sum([tensor])
    assert torch.equal(tensor, torch.ones(3)) and alone.all_reduce_max(7) == 7 and alone.all_gather("a") == ["a"]
    with pytest.raises(UsageError, match="no"):
        alone.on_main(lambda: (_ for _ in ()).throw(UsageError("no")))


def hifitse(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*HIFITSE, *map(str, arguments)], capture_output=True, text=True)


def test_two_ranks_train_as_one_does_and_their_number_may_change(trained: Path, tmp_path: Path) -> None:
    run, alone = Run(tmp_path / "run"), Run(trained)
    # One micro-batch for each rank; the run to compare with had two for its only one.
    start = ("--config", TINY, "--run", run.path, "--set", "train.micro_batch_size=4")
    done = hifitse("train", *start, "--ranks", 2, "--stop-at", 5)
    assert done.returncode == 0, done.stderr
    assert hifitse("resume", "--run", run.path, "--stop-at", 7).returncode == 0
    assert hifitse("resume", "--run", run.path, "--ranks", 2).returncode == 0

    rows, expected = ([row for row in read_metrics(r) if row.kind == "step"] for r in (run, alone))
    assert [row.step for row in rows] == list(range(1, 13))
    for row, wanted in zip(rows, expected, strict=True):
        for name in ("loss", "grad_norm", "rms_ratio"):
            assert row.get(name) == pytest.approx(wanted.get(name), rel=1e-5)
    ours, theirs = (load_checkpoint(r.checkpoint_path(12)).tensors for r in (run, alone))
    for name, tensor in theirs.items():
        torch.testing.assert_close(ours[name], tensor, rtol=1e-3, atol=1e-5)
    for step in (4, 12):
        assert read_result(run, step).metrics == pytest.approx(read_result(alone, step).metrics, rel=1e-4)


@pytest.mark.parametrize("network", NETWORKS)
def test_so_they_do_with_muon_and_the_other_networks(cli: Cli, tmp_path: Path, network: str) -> None:
    settings = [part for override in (NETWORKS[network], MUON) for part in ("--set", override)]
    run, alone = Run(tmp_path / "run"), Run(tmp_path / "alone")
    assert cli("train", "--config", TINY, "--run", alone.path, *settings, "--stop-at", 5).code == 0
    start = ("train", "--config", TINY, "--run", run.path, *settings, "--set", "train.micro_batch_size=4")
    done = hifitse(*start, "--ranks", 2, "--stop-at", 5)
    assert done.returncode == 0, done.stderr
    rows, expected = ([row for row in read_metrics(r) if row.kind == "step"] for r in (run, alone))
    for row, wanted in zip(rows, expected, strict=True):
        # Muon rounds what it makes orthogonal to bfloat16.
        assert row.get("loss") == pytest.approx(wanted.get("loss"), rel=1e-4)


def test_the_validation_of_three_ranks_is_that_of_one_to_the_bit(trained: Path) -> None:
    """Eight scenes in two batches: one of the ranks has nothing to do."""
    run = Run(trained)
    expected = read_result(run, 8)
    run.validation_path(8).unlink()
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "3", "-m", "hifitse")
    arguments = [sys.executable, *torchrun, "validate", "-r", str(trained), "--from", "8", "--json"]
    done = subprocess.run(arguments, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["metrics"] == expected.metrics
    assert read_result(run, 8) == expected


def while_training(run: Run, act: Callable[[subprocess.Popen[str]], None]) -> tuple[int, str]:
    """Start two ranks, do something to them in mid-training, and return exit code and stderr."""
    arguments = [*HIFITSE, "train", "--config", str(TINY), "--run", str(run.path), "--ranks", "2", *LONG]
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 120
        while len(read_metrics(run)) < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
        act(process)
        _, said = process.communicate(timeout=60)
    assert "Traceback" not in said
    return process.returncode, said


def test_a_signal_to_the_launcher_ends_all_ranks_with_the_state_saved(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    code, said = while_training(run, lambda process: process.send_signal(signal.SIGTERM))
    assert code == 143
    assert said.count("the state is saved") == 1
    checkpoint, skipped = CheckpointRef("last").load(run)
    assert not skipped and checkpoint.header.step == read_metrics(run)[-1].step


def test_a_killed_rank_ends_all_and_the_run_can_be_resumed(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")

    def kill_rank_1(process: subprocess.Popen[str]) -> None:
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                environment = (folder / "environ").read_bytes().split(b"\0")
                is_ours = str(run.path).encode() in (folder / "cmdline").read_bytes()
            except OSError:
                continue
            if is_ours and b"RANK=1" in environment:
                os.kill(int(folder.name), signal.SIGKILL)
                return
        raise AssertionError("there is no rank 1")

    code, said = while_training(run, kill_rank_1)
    assert code == 1
    assert "SIGKILL" in said and "hifitse resume" in said
    last = CheckpointRef("last").load(run)[0].header.step
    done = hifitse("resume", "--run", run.path, "--stop-at", last + 1)
    assert done.returncode == 0, done.stderr
    assert run.checkpoint_steps()[-1] == last + 1


def test_more_ranks_than_scenes_in_a_step_are_refused(tmp_path: Path) -> None:
    done = hifitse("train", "--config", TINY, "--run", tmp_path / "run", "--ranks", 2, "--set", "train.batch_size=1",
                   "--set", "train.micro_batch_size=1")  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.count("error") == 1 and "train.batch_size 1" in done.stderr
