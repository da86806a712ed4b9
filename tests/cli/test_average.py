"""select-best --average: the best checkpoints' average competes by the same rules, and is no checkpoint to train on."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import hifitse
from hifitse.checkpoint.file import load_checkpoint
from hifitse.evaluation.result import ValidationResult, read_result
from hifitse.runs.checkpoint_ref import CheckpointRef
from hifitse.runs.records import read_best
from hifitse.runs.run import Run
from hifitse.storage import read_sealed, write_sealed
from tests.helpers import Cli


def selected(cli: Cli, run: Path, *arguments: object) -> dict[str, Any]:
    outcome = cli("select-best", "--run", run, *arguments, "--json")
    assert outcome.code == 0, outcome.err
    found: dict[str, Any] = json.loads(outcome.out)
    return found


def average_file(run: Path) -> Path:
    (file,) = (run / "averages").glob("*.safetensors")
    return file


def make_better(run: Path, by_db: float) -> None:
    """Change what the run keeps of its average's validation: SI-SDR is so much higher."""
    kept = average_file(run).with_suffix(".json")
    data = read_sealed(kept)
    data["metrics"]["tp_si_sdr"] += by_db
    for sample in data["samples"]:
        if sample["present"]:
            sample["si_sdr_db"] += by_db
    write_sealed(kept, data, indent=None)


@pytest.fixture
def averaged(cli: Cli, trained: Path) -> Path:
    """A run whose average of three checkpoints is its best."""
    selected(cli, trained, "--average", 3)
    make_better(trained, 50.0)
    assert selected(cli, trained, "--average", 3)["best"]["average_of"] == [4, 8, 12]
    return trained


def test_it_is_the_mean_of_the_ema_weights_validated_on_the_same_scenes(cli: Cli, trained: Path) -> None:
    run = Run(trained)
    plain = selected(cli, trained)
    found = selected(cli, trained, "--average", 3)
    average = load_checkpoint(average_file(trained))
    members = [load_checkpoint(run.checkpoint_path(step)).tensors for step in (4, 8, 12)]
    assert average.tensors.keys() == {name for name in members[0] if name.startswith("ema/")}
    for name, tensor in average.tensors.items():
        torch.testing.assert_close(tensor, torch.stack([each[name] for each in members]).mean(0))
    kept = ValidationResult.model_validate(read_sealed(average_file(trained).with_suffix(".json")))
    assert kept.scenes == read_result(run, 12).scenes
    (candidate,) = (item for item in found["ranking"] if "average_of" in item)
    assert candidate["metrics"] == kept.metrics and candidate["average_of"] == [4, 8, 12]
    # It is a candidate where it is asked for, and the run's checkpoints are what they were.
    assert selected(cli, trained) == plain
    assert run.checkpoint_steps() == [2, 4, 6, 8, 10, 12] and run.validation_steps() == [4, 8, 12]


def test_an_average_beyond_the_bounds_is_refused_and_says_why(cli: Cli, averaged: Path) -> None:
    levels = {step: read_result(Run(averaged), step).metrics["rms_ratio"] for step in (4, 8, 12)}
    kept = average_file(averaged).with_suffix(".json")
    data = read_sealed(kept)
    data["metrics"]["rms_ratio"] = min(levels.values()) / 2
    write_sealed(kept, data, indent=None)
    outcome = cli("select-best", "--run", averaged, "--average", 3, "--require", f"rms_ratio>={min(levels.values())}")
    assert outcome.code == 0, outcome.err
    assert "- left out: the average of steps 4, 8, 12: rms_ratio" in outcome.out
    best = read_best(Run(averaged))
    assert best and best.average is None


def test_best_may_be_the_average_wherever_a_model_is_used(cli: Cli, averaged: Path, tmp_path: Path) -> None:
    file = average_file(averaged)
    assert CheckpointRef("best").path(Run(averaged)) == file
    outcome = cli("select-best", "--run", averaged, "--average", 3)
    assert f"* best by tp_si_sdr: the average of steps 4, 8, 12, {file}" in outcome.out and "avg 3" in outcome.out
    model = tmp_path / "model.safetensors"
    assert cli("export", "--run", averaged, "-o", model).code == 0
    mixture, reference = torch.randn(1, 8000), torch.randn(1, 8000)
    voices = [hifitse.load(source)(mixture, reference, sample_rate=8000) for source in (model, averaged, file)]
    assert torch.equal(voices[0], voices[1]) and torch.equal(voices[0], voices[2])
    outcome = cli("validate", "--run", averaged, "--from", "best")
    assert outcome.code == 0 and "only shown" in outcome.err
    found = json.loads(cli("compare", averaged, f"{averaged}@12", "--json").out)
    assert found["a"].endswith("@best, an average up to step 12")
    assert found["metrics"]["tp_si_sdr"]["verdict"] == "A is better"
    assert "(average)" in cli("runs", averaged.parent).out
    tuned = ("--config", averaged / "config.yaml", "--run", tmp_path / "tuned", "--stop-at", 1)
    assert cli("train", *tuned, "--init", file).code == 0


@pytest.mark.parametrize("line", ["resume", "resume --as runs/other", "smoke --steps 1"])
def test_no_training_goes_on_from_it(cli: Cli, averaged: Path, line: str) -> None:
    for source in ("best", average_file(averaged)):
        outcome = cli(*line.split(), "--run", averaged, "--from", source)
        assert outcome.code == 1
        assert "an average of weights, which has no state to go on from" in outcome.err


def test_last_resume_and_branches_go_round_it(cli: Cli, averaged: Path) -> None:
    run = Run(averaged)
    assert CheckpointRef("last").path(run) == run.checkpoint_path(12)
    more = ("--set", "train.total_steps=14", "--set", "retention.keep_last=1")
    assert cli("resume", "--run", averaged, *more).code == 0
    best = read_best(run)
    assert best and best.average and run.average_path(best.average).exists()
    assert 6 not in run.checkpoint_steps() and {4, 12} <= set(run.checkpoint_steps())
    # Its newest checkpoint is archived, and with it the choice; both come back.
    assert cli("resume", "--run", averaged, "--from", 4, "--stop-at", 6).code == 0
    assert read_best(run) is None
    assert cli("runs", "restore", "--run", averaged, "01").code == 0
    assert read_best(run) == best
    assert CheckpointRef("best").path(run) == average_file(averaged)


def test_what_cannot_be_averaged_is_told(cli: Cli, trained: Path) -> None:
    outcome = cli("select-best", "--run", trained, "--average", 4)
    assert outcome.code == 2 and "only 3 validated checkpoints are within the bounds" in outcome.err
    outcome = cli("select-best", "--run", trained, "--average", 2, "--set", "validation.num_scenes=10")
    assert outcome.code == 2 and "gives other scenes" in outcome.err
    assert not list((trained / "averages").glob("*.json"))


def test_what_was_not_measured_of_it_is_measured(cli: Cli, trained: Path) -> None:
    selected(cli, trained, "--average", 2)
    kept = average_file(trained).with_suffix(".json")
    before = ValidationResult.model_validate(read_sealed(kept))
    for step in (4, 8, 12):
        assert cli("validate", "--run", trained, "--from", step, "--metrics", "stoi").code == 0
    found = selected(cli, trained, "--average", 3, "--metric", "tp_stoi")
    assert all("tp_stoi" in item["metrics"] for item in found["ranking"]) and len(found["ranking"]) == 4
    assert ValidationResult.model_validate(read_sealed(kept)) == before
