"""`resume --verify` proves the exact resume, and sees when it is not exact."""

import json
from pathlib import Path

import pytest
import torch

from hifitse.checkpoint.file import load_header
from hifitse.experiment import Experiment
from hifitse.runs.records import read_metrics
from hifitse.runs.run import Run
from tests.helpers import TINY, Cli


def test_what_a_run_did_can_be_repeated_to_the_bit(cli: Cli, trained: Path) -> None:
    outcome = cli("resume", "--run", trained, "--verify", "--from", 2, "--steps", 7)
    assert outcome.code == 0, outcome.err
    assert "PASS  steps 3 to 9 are equal to the bit: 7 metrics rows and" in outcome.out
    default = json.loads(cli("resume", "--run", trained, "--verify", "--json").out)
    assert (default["first_step"], default["last_step"], default["exact"]) == (10, 12, True)


def test_a_fresh_optimizer_is_repeated_as_one(cli: Cli, trained: Path) -> None:
    assert cli("resume", "--run", trained, "--from", 6, "--reset-optimizer").code == 0
    assert cli("resume", "--run", trained, "--verify", "--from", 6, "--steps", 4).code == 0


def test_a_row_that_was_not_so_is_seen(cli: Cli, trained: Path) -> None:
    run = Run(trained)
    text = run.metrics_path.read_text()
    loss = next(row.get("loss") for row in read_metrics(run) if row.step == 11)
    run.metrics_path.write_text(text.replace(f'"loss": {loss}', f'"loss": {loss * (1 + 1e-15)}'))
    outcome = cli("resume", "--run", trained, "--verify")
    assert outcome.code == 3
    assert "step 11: loss was" in outcome.out and "FAIL  1 differences" in outcome.out


@pytest.mark.parametrize("change", ["train.learning_rate=1.0001e-3", "seed=2", "mixing.sir_db=[-4, 5]"])
def test_other_settings_are_seen(cli: Cli, trained: Path, change: str) -> None:
    before = Run(trained).metrics_path.read_bytes()
    outcome = cli("resume", "--run", trained, "--verify", "--set", change)
    assert outcome.code == 3
    assert "FAIL" in outcome.out and "the resume is not exact" in outcome.err
    assert Run(trained).metrics_path.read_bytes() == before


def test_there_must_be_something_to_compare_with(cli: Cli, trained: Path) -> None:
    outcome = cli("resume", "--run", trained, "--verify", "--from", 12)
    assert outcome.code == 2
    assert "nothing is recorded after step 12" in outcome.err
    assert load_header(Run(trained).checkpoint_path(12))[0].step == 12


def test_another_machine_is_named(cli: Cli, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Experiment, "environment", {"torch": "9.9", "device": "cpu", "ranks": 1})
    outcome = cli("resume", "--run", trained, "--verify", "--set", "seed=2")
    assert f"the resume is not exact; torch {torch.__version__}, now 9.9" in outcome.err


def test_only_what_is_recorded_is_repeated(cli: Cli, trained: Path) -> None:
    outcome = cli("resume", "--run", trained, "--verify", "--from", 8, "--steps", 300)
    assert outcome.code == 0 and "steps 9 to 12 are equal" in outcome.out


def test_a_checkpoint_of_another_run_cannot_be_verified(cli: Cli, trained: Path, tmp_path: Path) -> None:
    other = Run(tmp_path / "other")
    assert cli("train", "--config", TINY, "--run", other.path, "--set", "seed=2", "--stop-at", 4).code == 0
    outcome = cli("resume", "--run", trained, "--verify", "--from", other.checkpoint_path(4))
    assert outcome.code == 2 and "not a checkpoint of" in outcome.err


@pytest.mark.parametrize(
    "options",
    [("--verify", "--as", "x"), ("--verify", "--reset-optimizer"), ("--verify", "--stop-at", 12), ("--steps", 2)],
)
def test_options_that_do_not_go_together_are_refused(cli: Cli, trained: Path, options: tuple[object, ...]) -> None:
    assert cli("resume", "--run", trained, *options).code == 2
