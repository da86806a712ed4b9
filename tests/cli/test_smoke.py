"""The smoke test, and the audit of the objective that train and resume begin with."""

import json
from pathlib import Path

import pytest

from hifitse.runs.run import Run
from tests.helpers import TINY, Cli


@pytest.mark.parametrize("start", [(), ("--from", "6"), ("--from", "6", "--reset-optimizer")])
def test_smoke_passes_on_a_sound_config_and_changes_no_run(cli: Cli, trained: Path, start: tuple[str, ...]) -> None:
    before = {path: path.stat().st_mtime_ns for path in trained.rglob("*") if path.is_file()}
    outcome = cli("smoke", "--run", trained, "--steps", 6, "--json", *start)
    assert outcome.code == 0, outcome.err
    report = json.loads(outcome.out)
    assert report["passed"]
    assert all(set(check) == {"name", "passed", "value", "limit", "detail"} for check in report["checks"])
    assert before == {path: path.stat().st_mtime_ns for path in trained.rglob("*") if path.is_file()}


def test_smoke_fails_the_objective_that_pays_for_silence_and_shows_every_finding(cli: Cli, trained: Path) -> None:
    arguments = ("smoke", "--run", trained, "--steps", 6, "--set", "loss.absent.kind=raw_db")
    outcome = cli(*arguments)
    assert outcome.code == 3
    assert "FAIL" in outcome.out
    as_json = cli(*arguments, "--json")
    report = json.loads(as_json.out)
    assert as_json.code == 3 and not report["passed"]
    assert len(report["audit"]) >= 4 and all(finding["topic"] in outcome.out for finding in report["audit"])
    assert "pays for silence" in " ".join(outcome.out.split())


def test_an_objective_that_pays_for_silence_starts_only_on_demand(cli: Cli, trained: Path, tmp_path: Path) -> None:
    faulty = ("--set", "loss.absent.kind=raw_db")
    for arguments in (
        ("train", "--config", TINY, "--run", tmp_path / "faulty"),
        ("resume", "--run", trained, "--from", 6),
    ):
        outcome = cli(*arguments, *faulty)
        assert outcome.code == 3
        assert "every 10 dB of suppression lowers the loss" in outcome.err
        assert "--allow-unsafe-objective" in outcome.err
    assert not Run(tmp_path / "faulty").exists()
    assert Run(trained).checkpoint_steps() == [2, 4, 6, 8, 10, 12], "nothing was moved"
    outcome = cli(
        "train", "--config", TINY, "--run", tmp_path / "faulty", "--stop-at", 1, *faulty, "--allow-unsafe-objective"
    )
    assert outcome.code == 0


def test_an_objective_that_holds_no_level_starts_with_a_warning(cli: Cli, tmp_path: Path) -> None:
    settings = ("--set", "loss.amplitude_weight=0", "--stop-at", 1)
    outcome = cli("train", "--config", TINY, "--run", tmp_path / "loose", *settings)
    assert outcome.code == 0
    assert "nothing holds the TP level" in outcome.err
