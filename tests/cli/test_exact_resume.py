"""A run that was interrupted anywhere, any number of times, equals one that was not: to the bit."""

import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hifitse.checkpoint.file import load_checkpoint
from hifitse.evaluation.result import read_result
from hifitse.runs.records import exact_metrics, read_metrics
from hifitse.runs.run import Run
from tests.helpers import MUON, NETWORKS, TINY, Cli

INTERRUPTIONS = {
    1: "in the first step",
    3: "in mid-phase, away from any checkpoint",
    4: "at the phase boundary, where a validation is due",
    7: "right before a validation",
    8: "right after a validation",
    10: "at a save",
}


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("micro_batch_size", [1, 4])
def test_interruptions_change_nothing(cli: Cli, tmp_path: Path, num_workers: int, micro_batch_size: int) -> None:
    require_exact(
        cli, tmp_path, [*INTERRUPTIONS], f"data.num_workers={num_workers}", f"train.micro_batch_size={micro_batch_size}"
    )


def test_an_interruption_inside_a_window_does_not_change_the_means_of_its_row(cli: Cli, tmp_path: Path) -> None:
    require_exact(cli, tmp_path, [2, 3, 7], "train.log_every=5")
    each = Run(tmp_path / "each")
    assert cli("train", "--config", TINY, "--run", each.path).code == 0
    steps = {row.step: row for row in read_metrics(each) if row.kind == "step"}
    rows = [row for row in read_metrics(Run(tmp_path / "interrupted")) if row.kind == "step"]
    assert [(row.step, row.get("num_steps")) for row in rows] == [(5, 5), (10, 5)]
    for row in rows:
        window = [steps[step] for step in range(row.step - 4, row.step + 1)]
        assert row.get("loss") == pytest.approx(statistics.fmean(step.get("loss") for step in window))
        assert sum(row.get("weighted_terms").values()) == pytest.approx(row.get("loss"))
        heard = [step.get("ta_energy_db") for step in window if step.get("ta_energy_db") is not None]
        assert row.get("ta_energy_db") == pytest.approx(statistics.fmean(heard))
        assert row.get("terms")["absent"] == pytest.approx(
            statistics.fmean(step.get("terms")["absent"] for step in window if step.get("ta_energy_db") is not None)
        )
        machine = row.get("machine")
        assert machine["scenes_per_second"] > 0 and 0 <= machine["wait_share"] <= 1
        assert machine["peak_memory_bytes"] > 1e7 and machine["time"].startswith("20")
    outcome = cli("resume", "--run", tmp_path / "interrupted", "--from", 4, "--verify", "--steps", 8)
    assert outcome.code == 0, outcome.err


@pytest.mark.parametrize("network", NETWORKS)
def test_nor_do_they_with_muon_and_the_other_networks(cli: Cli, tmp_path: Path, network: str) -> None:
    require_exact(cli, tmp_path, [3, 8], NETWORKS[network], MUON)


@pytest.mark.filterwarnings("ignore:.*script_method.*deprecated:DeprecationWarning")
def test_nor_do_they_with_a_compiled_network_which_learns_what_the_plain_one_does(cli: Cli, tmp_path: Path) -> None:
    # Small, for each kernel takes a C++ compiler a second.
    network = [NETWORKS["attention"], "model.num_layers=1"]
    require_exact(cli, tmp_path / "compiled", [5], *network, "train.compile=true")
    plain = Run(tmp_path / "plain")
    settings = [part for override in network for part in ("--set", override)]
    assert cli("train", "--config", TINY, "--run", plain.path, *settings).code == 0
    compiled = Run(tmp_path / "compiled" / "straight")
    losses, others = ([row.get("loss") for row in read_metrics(run) if row.get("loss")] for run in (compiled, plain))
    assert losses == pytest.approx(others, rel=1e-3)


def test_a_network_that_cannot_be_compiled_is_told_with_the_remedy(tmp_path: Path) -> None:
    without_compiler = {"CXX": "/nonexistent/g++", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "hifitse", "train", "--config", TINY, "--run", tmp_path / "run"]
    settings = ["--set", NETWORKS["attention"], "--set", "train.compile=true"]
    done = subprocess.run([*command, *settings], env=os.environ | without_compiler, capture_output=True, text=True)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: train.compile: the network cannot be compiled") and "g++" in last


def require_exact(cli: Cli, tmp_path: Path, interruptions: list[int], *overrides: str) -> None:
    straight, interrupted = Run(tmp_path / "straight"), Run(tmp_path / "interrupted")
    settings = [part for override in overrides for part in ("--set", override)]
    assert cli("train", "--config", TINY, "--run", straight.path, *settings).code == 0
    assert cli("train", "--config", TINY, "--run", interrupted.path, *settings, "--stop-at", interruptions[0]).code == 0
    for step in [*interruptions, 12][1:]:
        assert cli("resume", "--run", interrupted.path, "--stop-at", step).code == 0
        assert interrupted.checkpoint_steps()[-1] == step

    assert exact_metrics(interrupted) == exact_metrics(straight)
    for step in straight.checkpoint_steps():
        ours, theirs = (load_checkpoint(run.checkpoint_path(step)) for run in (interrupted, straight))
        assert ours.tensors.keys() == theirs.tensors.keys()
        assert all(torch.equal(tensor, ours.tensors[name]) for name, tensor in theirs.tensors.items())
        assert ours.header.watch == theirs.header.watch
    for step in straight.validation_steps():
        assert read_result(interrupted, step) == read_result(straight, step)
