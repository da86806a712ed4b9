"""hifitse compare: what two models make of the same scenes, kept or measured, and what sets their trainings apart."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from hifitse.evaluation.comparison.paired import differences
from hifitse.evaluation.result import read_result
from hifitse.runs.run import Run
from tests.evaluation.layouts import make_csv
from tests.helpers import TINY, Cli

VERDICTS = {"A is better", "B is better", "cannot be told apart", "no interval"}


def compared(cli: Cli, *arguments: object) -> dict[str, Any]:
    outcome = cli("compare", *arguments, "--json")
    assert outcome.code == 0, outcome.err
    found: dict[str, Any] = json.loads(outcome.out)
    return found


def test_two_checkpoints_are_compared_by_what_their_run_keeps(cli: Cli, trained: Path) -> None:
    run = Run(trained)
    found = compared(cli, f"{trained}@4", f"{trained}@12")
    kept = differences(read_result(run, 4).samples, read_result(run, 12).samples)
    assert found["metrics"].keys() == {each.metric.name for each in kept}
    for each in kept:
        assert found["metrics"][each.metric.name]["difference"] == each.interval.mean
        assert found["metrics"][each.metric.name]["verdict"] in VERDICTS
    assert found["a"].endswith("@4") and found["b"].endswith("@12")
    assert found["config"] == [] and found["num_scenes"] == 8
    swapped = compared(cli, f"{trained}@12", f"{trained}@4")["metrics"]["tp_si_sdr"]
    assert swapped["difference"] == -found["metrics"]["tp_si_sdr"]["difference"]


def test_a_run_alone_is_its_best_or_else_its_last(cli: Cli, trained: Path) -> None:
    assert compared(cli, trained, f"{trained}@4")["a"].endswith("@12")
    assert cli("select-best", "--run", trained, "--require", "val_loss>=-1000", "--metric", "val_loss").code == 0
    best = json.loads(Run(trained).best_path.read_text())["step"]
    assert compared(cli, trained, f"{trained}@last")["a"].endswith(f"@{best}")


def test_the_table_has_every_metric_and_the_verdicts_in_words(cli: Cli, trained: Path) -> None:
    outcome = cli("compare", f"{trained}@4", f"{trained}@12")
    assert outcome.code == 0
    for name, found in compared(cli, f"{trained}@4", f"{trained}@12")["metrics"].items():
        assert re.search(rf"^{name} .* {found['a']:z.2f} +{found['b']:z.2f} ", outcome.out, re.MULTILINE), name
        assert re.search(rf"^{found['verdict']}: .*\b{name}\b", outcome.out, re.MULTILINE), name


def test_what_is_not_kept_is_measured_and_changes_nothing(cli: Cli, trained: Path, tmp_path: Path) -> None:
    run = Run(trained)
    measured = compared(cli, f"{trained}@10", f"{trained}@12")["metrics"]["tp_si_sdr"]["a"]
    assert run.validation_steps() == [4, 8, 12]
    assert cli("validate", "--run", trained, "--from", 10).code == 0
    assert measured == pytest.approx(read_result(run, 10).metrics["tp_si_sdr"])
    # An exported model is the checkpoint that it was exported from.
    model = tmp_path / "model.safetensors"
    assert cli("export", "--run", trained, "--from", 8, "-o", model).code == 0
    found = compared(cli, model, f"{trained}@8")
    assert {each["difference"] for each in found["metrics"].values()} == {0}
    assert {each["verdict"] for each in found["metrics"].values()} <= {"cannot be told apart", "no interval"}
    assert found["config"] == []
    outcome = cli("compare", model, run.checkpoint_path(8))
    assert outcome.code == 2 and "--scenes RUN" in outcome.err
    assert compared(cli, model, run.checkpoint_path(8), "--scenes", trained)["metrics"]["rms_ratio"]["difference"] == 0


def test_runs_with_other_scenes_are_measured_on_those_of_the_first(cli: Cli, trained: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    change = ("--set", "validation.num_scenes=12", "--set", "loss.ta_weight=0.3")
    assert cli("resume", "--run", trained, "--from", 8, "--as", other, *change).code == 0
    outcome = cli("compare", f"{trained}@12", f"{other}@12")
    assert outcome.code == 0
    assert "measuring" in outcome.err and "may have trained on their voices" in outcome.err
    assert re.search(r"^loss.ta_weight +0\.\d+ +0\.3", outcome.out, re.MULTILINE)
    found = compared(cli, f"{other}@12", f"{trained}@12")
    assert found["num_scenes"] == 12
    assert {"key": "validation.num_scenes", "a": 12, "b": 8} in found["config"]


def test_finished_evaluations_of_one_list_are_compared(cli: Cli, trained: Path, tmp_path: Path) -> None:
    pairs = make_csv(tmp_path / "data")
    folders = [tmp_path / name for name in ("one", "two")]
    for step, folder in zip((4, 12), folders, strict=True):
        outcome = cli("evaluate", pairs, "--run", trained, "--from", step, "-o", folder)
        assert outcome.code == 0, outcome.err
    found = compared(cli, *folders)
    of = [json.loads((folder / "summary.json").read_text())["metrics"]["tp_si_sdr"]["mean"] for folder in folders]
    shown = found["metrics"]["tp_si_sdr"]
    assert (shown["a"], shown["b"]) == (pytest.approx(of[0]), pytest.approx(of[1]))
    outcome = cli("compare", folders[0], f"{trained}@4")
    assert outcome.code == 2 and "is an evaluation" in outcome.err
    rows = folders[1] / "pairs.jsonl"
    lines = rows.read_text().splitlines(keepends=True)
    rows.write_text("".join(lines[:-1]))
    assert "not finished" in cli("compare", *folders).err
    header = json.loads(lines[0]) | {"digest": "another"}
    rows.write_text("".join([json.dumps(header) + "\n", *lines[1:]]))
    outcome = cli("compare", *folders)
    assert outcome.code == 2 and "another list" in outcome.err


def test_what_cannot_be_compared_is_told_in_one_line(cli: Cli, trained: Path, tmp_path: Path) -> None:
    wide = tmp_path / "wide"
    settings = ("--set", "audio.sample_rate=16000", "--stop-at", 1)
    assert cli("train", "--config", TINY, "--run", wide, *settings).code == 0
    for arguments, said in (
        ((f"{trained}@7", trained), "no checkpoint at step 7"),
        ((f"{trained}@x", trained), "after @ comes a step, last or best"),
        ((tmp_path / "none", trained), "no such run"),
        ((tmp_path / "none.safetensors", trained), "no such file"),
        ((trained, wide), "a model for 16000 Hz, and the scenes have 8000 Hz"),
    ):
        outcome = cli("compare", *arguments)
        assert outcome.code == 2 and said in outcome.err, outcome.err
        assert outcome.err.splitlines()[-1].startswith("error: ")
