"""hifitse diagnose on real, small trainings; and what a run says when a guard stops it."""

import json
from pathlib import Path

import pytest

from hifitse.runs.records import read_events
from hifitse.runs.run import Run
from tests.helpers import TINY, Cli


def causes(cli: Cli, run: Path) -> list[str]:
    outcome = cli("diagnose", run, "--json")
    assert outcome.code == 0, outcome.err
    return [finding["cause"] for finding in json.loads(outcome.out)["findings"]]


def test_a_healthy_run_has_no_cause(cli: Cli, trained: Path) -> None:
    assert causes(cli, trained) == []
    outcome = cli("diagnose", trained)
    assert outcome.code == 0
    first, verdict, words = outcome.out.splitlines()
    assert first.startswith(f"{trained}: step 12, 3 validations") and verdict.startswith("no cause found")
    assert words.startswith("All voices of this validation were heard in training")


def test_what_the_figures_mean_for_new_voices_is_said_by_every_command_that_shows_them(
    cli: Cli, trained: Path, tmp_path: Path
) -> None:
    for command in (("select-best",), ("validate", "--from", "12")):
        assert "the figures say nothing about new voices" in " ".join(cli(*command, "--run", trained).out.split())
    apart = ("--set", "data.split=speaker", "--set", "mixing.num_interferers=[1, 1]")
    assert cli("train", "--config", TINY, "--run", tmp_path / "apart", *apart).code == 0
    shown = " ".join(cli("select-best", "--run", tmp_path / "apart", "--require", "val_loss>=-1000").out.split())
    assert "2 voices of this validation were not heard in training" in shown


@pytest.mark.parametrize(
    ("override", "cause", "words"),
    [
        (
            "loss.absent={kind: raw_db}",
            "objective_pays_for_silence",
            "the objective pays for silence (loss.absent.kind",
        ),
        ("loss.amplitude_weight=0", "level_not_held", "nothing holds the output level"),
    ],
)
def test_a_guard_that_stops_a_run_says_why(cli: Cli, tmp_path: Path, override: str, cause: str, words: str) -> None:
    run = Run(tmp_path / "run")
    guard = "health.guards=[{name: strict, metric: rms_ratio, above: 0.1, patience: 1, phases: with_ta}]"
    settings = ("--set", override, "--set", guard, "--allow-unsafe-objective")
    stopped = cli("train", "--config", TINY, "--run", run.path, *settings)
    assert stopped.code == 3
    assert f"Likely cause: {words}" in stopped.err and f"hifitse diagnose {run.path}" in stopped.err
    assert read_events(run)[-1].get("causes") == [cause]
    assert causes(cli, run.path) == [cause]
    shown = cli("diagnose", run.path).out
    assert shown.splitlines()[1].startswith("1. ") and "   remedy: loss." in shown


def test_without_its_corpora_the_records_are_examined_all_the_same(cli: Cli, trained: Path, tmp_path: Path) -> None:
    config = Run(trained).config_path
    text = config.read_text()
    config.write_text("\n".join(line.replace("demo_corpus/speech", "nowhere/speech") for line in text.splitlines()))
    outcome = cli("diagnose", trained, "--json")
    assert outcome.code == 0 and json.loads(outcome.out)["data_examined"] is False
    assert "the corpora are not examined" in outcome.err


def test_what_cannot_be_diagnosed_is_said_with_the_remedy(cli: Cli, tmp_path: Path) -> None:
    assert cli("diagnose", tmp_path / "none").code == 2
    young = Run(tmp_path / "young")
    assert cli("train", "--config", TINY, "--run", young.path, "--stop-at", 2).code == 0
    outcome = cli("diagnose", young.path)
    assert outcome.code == 2 and f"hifitse validate --run {young.path}" in outcome.err
