"""The way of a user: train, look, resume, validate, select, extract."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch

from hifitse.checkpoint.file import load_checkpoint, load_header
from hifitse.commands import resume
from hifitse.evaluation.result import read_result
from hifitse.metrics import METRICS
from hifitse.runs.checkpoint_ref import CheckpointRef
from hifitse.runs.records import exact_metrics, read_metrics
from hifitse.runs.run import Run
from tests.helpers import TINY, Cli

COMPARED = ("step", "phase", "learning_rate", "loss", "terms", "grad_norm", "rms_ratio", "ta_energy_db")


def digest_of_tensors(run: Path, step: int) -> dict[str, str]:
    return load_header(Run(run).checkpoint_path(step))[0].digests


def test_training_leaves_checkpoints_validations_and_metrics_of_both_phases(trained: Path) -> None:
    run = Run(trained)
    assert run.checkpoint_steps() == [2, 4, 6, 8, 10, 12]
    assert run.validation_steps() == [4, 8, 12]
    rows = [row for row in read_metrics(run) if row.kind == "step"]
    assert [row.step for row in rows] == list(range(1, 13))
    assert [row.get("phase") for row in rows] == ["tp"] * 4 + ["tp_ta"] * 8
    assert all("absent" not in row.get("terms") for row in rows[:4])
    assert all(row.get("terms")["absent"] >= 0 for row in rows[4:])
    assert all(row.get("ta_energy_db") < 0 for row in rows[4:]), "every step of tp_ta has its share of TA scenes"
    assert list((trained / "tensorboard").glob("events.*"))


def test_a_stop_and_a_resume_equal_a_training_in_one_go(cli: Cli, trained: Path, tmp_path: Path) -> None:
    run = tmp_path / "interrupted"
    assert cli("train", "--config", TINY, "--run", run, "--stop-at", 3).code == 0
    assert cli("resume", "--run", run, "--stop-at", 7).code == 0
    # Other memory and loader settings must not matter either.
    settings = ("--set", "train.micro_batch_size=4", "--set", "data.num_workers=1")
    assert cli("resume", "--run", run, *settings).code == 0
    straight, stopped = read_metrics(Run(trained)), read_metrics(Run(run))
    assert [row.step for row in straight] == [row.step for row in stopped]
    for one, other in zip(straight[:7], stopped[:7], strict=True):
        values, others = one.model_dump(), other.model_dump()
        assert {key: values.get(key) for key in COMPARED} == {key: others.get(key) for key in COMPARED}
    last, also_last = straight[-2], stopped[-2]
    assert also_last.get("loss") == pytest.approx(last.get("loss"), rel=1e-4)


def test_a_resume_is_exact_bit_for_bit(cli: Cli, trained: Path, tmp_path: Path) -> None:
    run = tmp_path / "interrupted"
    assert cli("train", "--config", TINY, "--run", run, "--stop-at", 5).code == 0
    assert cli("resume", "--run", run).code == 0
    assert digest_of_tensors(run, 12) == digest_of_tensors(trained, 12)
    assert exact_metrics(Run(run)) == exact_metrics(Run(trained))


def test_a_resume_from_an_older_step_archives_the_newer_ones(cli: Cli, trained: Path) -> None:
    before = digest_of_tensors(trained, 12)
    outcome = cli("resume", "--run", trained, "--from", 6)
    assert outcome.code == 0
    assert "abandoned/01" in outcome.err
    assert Run(trained / "abandoned" / "01").checkpoint_steps() == [8, 10, 12]
    assert digest_of_tensors(trained, 12) == before, "the same branch, trained again"
    header, _ = load_header(Run(trained).checkpoint_path(8))
    assert header.parent == load_header(Run(trained).checkpoint_path(6))[1]


def test_reset_optimizer_starts_with_fresh_moments_and_a_low_rate(cli: Cli, trained: Path) -> None:
    before = {row.step: row for row in read_metrics(Run(trained)) if row.kind == "step"}
    assert cli("resume", "--run", trained, "--from", 6, "--reset-optimizer").code == 0
    after = {row.step: row for row in read_metrics(Run(trained)) if row.kind == "step"}
    assert after[7].get("loss") == before[7].get("loss"), "the weights are the same"
    assert after[7].get("learning_rate") == pytest.approx(before[7].get("learning_rate") / 2)
    assert after[9].get("learning_rate") == before[9].get("learning_rate")
    loaded = load_checkpoint(Run(trained).checkpoint_path(8))
    assert loaded.header.optimizer_reset_step == 6
    counters = [tensor for name, tensor in loaded.tensors.items() if name.endswith("/step")]
    assert all(counter == 2 for counter in counters)


def test_a_resume_shows_what_changed_in_the_config(cli: Cli, trained: Path) -> None:
    outcome = cli("resume", "--run", trained, "--from", 8, "--set", "loss.ta_weight=0.5", "--stop-at", 9)
    assert outcome.code == 0
    assert "changed: loss.ta_weight: 0.1 -> 0.5" in outcome.err


def test_a_finished_run_says_so(cli: Cli, trained: Path) -> None:
    outcome = cli("resume", "--run", trained)
    assert outcome.code == 0
    assert "finished at step 12" in outcome.err


def test_validate_repeats_what_training_found(cli: Cli, trained: Path) -> None:
    outcome = cli("validate", "--run", trained, "--from", 8, "--json")
    assert outcome.code == 0
    report = json.loads(outcome.out)
    assert report["step"] == 8
    assert report["metrics"].keys() == METRICS.keys()
    expected = read_result(Run(trained), 8)
    assert (report["metrics"], report["raw_metrics"]) == (expected.metrics, expected.model_metrics)
    assert report["train_metrics"] == expected.train_metrics and expected.train_metrics
    assert report["train_metrics"]["tp_si_sdri"] != report["metrics"]["tp_si_sdri"]
    assert report["intervals"]["tp_si_sdri"]["mean"] == pytest.approx(report["metrics"]["tp_si_sdri"])
    assert report["intervals"]["tp_si_sdri"]["low"] < report["metrics"]["tp_si_sdri"]
    assert sum(group["num_scenes"] for group in report["groups"]["speaker"]) == len(report["samples"]) == 8


def test_validate_shows_intervals_and_for_whom_it_fails_and_says_which_set_it_is(cli: Cli, trained: Path) -> None:
    shown = cli("validate", "--run", trained, "--from", 8).out
    assert shown.startswith("step 8, validation: 8 scenes of ") and "also selects" in shown
    rows = {line.split()[0]: line for line in shown.splitlines() if line}
    assert rows.keys() >= METRICS.keys()
    assert " to " in rows["rms_ratio"] and " to " not in rows["val_loss"]
    assert {"worst", "interferers", "SIR", "SNR", "reference"} <= rows.keys()
    tables = shown.splitlines()[1:-1]
    assert max(len(line) for line in tables) <= 80


def test_validate_makes_a_checkpoint_selectable(cli: Cli, trained: Path) -> None:
    assert cli("validate", "--run", trained, "--from", 10).code == 0
    assert Run(trained).validation_steps() == [4, 8, 10, 12]


@pytest.mark.parametrize("change", ["validation.num_scenes=4", "validation.num_train_scenes=0", "loss.ta_weight=0.5"])
def test_a_validation_of_other_scenes_or_weights_does_not_replace_the_runs_own(
    cli: Cli, trained: Path, change: str
) -> None:
    before = read_result(Run(trained), 8)
    outcome = cli("validate", "--run", trained, "--from", 8, "--set", change)
    assert outcome.code == 0
    assert "only shown" in outcome.err
    assert read_result(Run(trained), 8) == before


def test_a_validation_of_another_runs_checkpoint_is_only_shown(cli: Cli, trained: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    assert cli("train", "--config", TINY, "--run", other, "--set", "seed=2", "--stop-at", 8).code == 0
    before = read_result(Run(trained), 8)
    outcome = cli("validate", "--run", trained, "--from", Run(other).checkpoint_path(8))
    assert outcome.code == 0
    assert "only shown" in outcome.err
    assert read_result(Run(trained), 8) == before


def test_after_a_change_of_the_scenes_older_checkpoints_can_be_validated_again(cli: Cli, trained: Path) -> None:
    change = ("--set", "validation.num_scenes=12")
    assert cli("resume", "--run", trained, "--from", 10, *change).code == 0
    assert "hifitse validate" in cli("select-best", "--run", trained).out
    assert cli("validate", "--run", trained, "--from", 8).code == 0
    ranking = json.loads(cli("select-best", "--run", trained, "--json").out)["ranking"]
    assert {item["step"] for item in ranking} == {8, 12}


def test_a_checkpoint_of_another_run_does_not_continue_this_one(cli: Cli, trained: Path, tmp_path: Path) -> None:
    other = Run(tmp_path / "other")
    assert cli("train", "--config", TINY, "--run", other.path, "--set", "seed=2", "--stop-at", 4).code == 0
    outcome = cli("resume", "--run", trained, "--from", other.checkpoint_path(4))
    assert outcome.code == 2
    assert "not a checkpoint of" in outcome.err
    assert Run(trained).checkpoint_steps() == [2, 4, 6, 8, 10, 12]
    fork = tmp_path / "fork"
    arguments = ("--config", TINY, "--as", fork, "--from", other.checkpoint_path(4), "--stop-at", 6)
    assert cli("resume", *arguments).code == 0
    assert Run(fork).checkpoint_steps() == [4, 6]


def test_a_fork_equals_its_origin_and_leaves_it_alone(cli: Cli, trained: Path, tmp_path: Path) -> None:
    def content(run: Path) -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in sorted(run.rglob("*")) if path.is_file()}

    before = content(trained)
    fork = Run(tmp_path / "fork")
    assert cli("resume", "--run", trained, "--from", 6, "--as", fork.path).code == 0
    assert content(trained) == before
    assert json.loads(fork.origin_path.read_text())["step"] == 6
    origin = Run(trained)
    assert fork.checkpoint_steps() == [6, 8, 10, 12]
    for step in (6, 12):
        assert digest_of_tensors(fork.path, step) == digest_of_tensors(trained, step)
    assert exact_metrics(fork) == exact_metrics(origin)
    assert [read_result(fork, step) for step in (4, 8, 12)] == [read_result(origin, step) for step in (4, 8, 12)]
    assert cli("resume", "--run", trained, "--from", 6, "--as", fork.path).code == 2


def test_the_shortest_segments_that_the_config_allows_can_be_trained(cli: Cli, tmp_path: Path) -> None:
    short = ("audio.mixture_seconds=0.26", "audio.reference_seconds=0.26", "mixing.min_target_seconds=0.1")
    settings = [part for setting in short for part in ("--set", setting)]
    outcome = cli("train", "--config", TINY, "--run", tmp_path / "short", "--stop-at", 1, *settings)
    assert outcome.code == 0, outcome.err


def test_select_best_points_best_at_the_winner(cli: Cli, trained: Path) -> None:
    outcome = cli("select-best", "--run", trained, "--metric", "tp_si_sdr", "--json")
    assert outcome.code == 0
    report = json.loads(outcome.out)
    ranked = {step: read_result(Run(trained), step).metrics["tp_si_sdr"] for step in (4, 8, 12)}
    # Between the first two noise may decide.
    by_value = sorted(ranked, key=lambda step: -ranked[step])
    assert report["best"]["step"] in by_value[:2]
    assert {item["step"] for item in report["ranking"]} == set(ranked) and report["ranking"][2]["step"] == by_value[2]
    assert report["runner_up"]["step"] == report["ranking"][1]["step"]
    assert report["runner_up"]["verdict"] in ("A is better", "cannot be told apart", "no interval")
    assert report["excluded"] == []
    assert CheckpointRef("best").path(Run(trained)).name == Path(report["best"]["path"]).name


def test_select_best_without_a_healthy_checkpoint_fails_and_says_why(cli: Cli, trained: Path) -> None:
    outcome = cli("select-best", "--run", trained, "--require", "rms_ratio>=1000")
    assert outcome.code == 1
    assert "is below 1000" in outcome.err


def test_extract_writes_the_voice_at_the_models_level(cli: Cli, trained: Path, tmp_path: Path) -> None:
    assert cli("select-best", "--run", trained).code == 0
    folder = tmp_path / "scenes"
    assert cli("data", "preview", "--run", trained, "-n", 2, "-o", folder).code == 0
    scene = folder / "scene_00000"
    output = tmp_path / "voice.wav"
    inputs = (scene / "mixture.wav", scene / "reference.wav", "--target", scene / "target.wav")
    outcome = cli("extract", *inputs, "-o", output, "--run", trained, "--json")
    assert outcome.code == 0, outcome.err
    report = json.loads(outcome.out)
    sample = read_result(Run(trained), report["step"]).samples[0]
    assert report["si_sdri_db"] == pytest.approx(sample.si_sdri_db, abs=1e-2)
    info = soundfile.info(output)
    assert (info.samplerate, info.channels, info.subtype) == (8000, 1, "FLOAT")


def test_extract_takes_any_rate_stereo_and_long_files(cli: Cli, trained: Path, tmp_path: Path) -> None:
    noise = 0.1 * torch.randn(44100 * 25, 2, generator=torch.Generator().manual_seed(0))
    soundfile.write(tmp_path / "mix.wav", noise.numpy(), 44100)
    soundfile.write(tmp_path / "ref.flac", noise[:44100, 0].numpy(), 44100)
    output = tmp_path / "voice.wav"
    outcome = cli("extract", tmp_path / "mix.wav", tmp_path / "ref.flac", "-o", output, "--run", trained, "--from", 12)
    assert outcome.code == 0, outcome.err
    voice, rate = soundfile.read(output)
    assert len(voice) == 25 * rate


def test_config_show_prints_what_would_be_used_and_loads_back(cli: Cli, tmp_path: Path) -> None:
    shown = cli("config", "show", "--config", TINY, "--set", "loss.ta_weight=0.3")
    assert shown.code == 0
    (tmp_path / "shown.yaml").write_text(shown.out)
    again = cli("config", "show", "--config", tmp_path / "shown.yaml")
    assert again.out == shown.out
    assert "ta_weight: 0.3" in shown.out
    schema = json.loads(cli("config", "schema").out)
    assert "loss" in schema["properties"]


def test_a_run_that_moved_on_while_a_resume_prepared_is_left_alone(
    cli: Cli, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, original = Run(trained), resume.build_experiment

    def build(*arguments: Any) -> Any:
        shutil.copy(run.checkpoint_path(12), run.checkpoint_path(13))
        return original(*arguments)

    monkeypatch.setattr(resume, "build_experiment", build)
    outcome = cli("resume", "--run", trained, "--set", "train.total_steps=20")
    assert outcome.code == 2 and "another process has trained this run meanwhile" in outcome.err
    assert run.checkpoint_steps()[-1] == 13 and not (run.path / "abandoned").exists()


def test_a_checkpoint_file_brings_its_own_configuration(
    cli: Cli, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "elsewhere.safetensors"
    shutil.copy(Run(trained).checkpoint_path(6), file)
    outcome = cli("resume", "--from", file, "--as", "fork", "--set", "train.log_every=2", "--stop-at", 8)
    assert outcome.code == 0, outcome.err
    assert Run(tmp_path / "runs" / "fork").checkpoint_steps() == [6, 8]
    assert "changed: train.log_every: 1 -> 2" in outcome.err
