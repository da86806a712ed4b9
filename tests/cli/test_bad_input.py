"""What goes wrong is said in one line, with the remedy, and the right exit code; nothing is lost."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from hifitse.runs.checkpoint_ref import CheckpointRef
from hifitse.runs.records import read_events, read_metrics
from hifitse.runs.run import Run
from hifitse.training import step as stepping
from tests.helpers import SPEECH, TINY, Cli, append_rows


def test_a_missing_corpus_is_named_with_its_key(cli: Cli, tmp_path: Path) -> None:
    outcome = cli("train", "--config", TINY, "--run", tmp_path / "run", "--set", f"data.speech={tmp_path}/none")
    assert outcome.code == 2
    assert "data.speech" in outcome.err and f"{tmp_path}/none" in outcome.err
    assert not Run(tmp_path / "run").exists(), "a start that failed leaves no run behind"


def test_one_speaker_only_cannot_be_mixed(cli: Cli, tmp_path: Path) -> None:
    shutil.copytree(SPEECH / "june_fr", tmp_path / "speech" / "june_fr")
    outcome = cli("train", "--config", TINY, "--run", tmp_path / "run", "--set", f"data.speech={tmp_path}/speech")
    assert outcome.code == 2
    assert "data.speech" in outcome.err and "speaker" in outcome.err


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SPEECH, tmp_path / "speech"))


def test_broken_and_empty_files_are_left_out_by_name(cli: Cli, corpus: Path, tmp_path: Path) -> None:
    (corpus / "june_fr" / "broken.flac").write_bytes(b"this is no audio")
    soundfile.write(corpus / "june_fr" / "empty.wav", np.zeros(0), 16000)
    run = ("--run", tmp_path / "run", "--stop-at", 1, "--set", f"data.speech={corpus}")
    outcome = cli("train", "--config", TINY, *run)
    assert outcome.code == 0
    assert "broken.flac" in outcome.err and "empty.wav" in outcome.err


@pytest.mark.parametrize("num_workers", [0, 1])
def test_nan_samples_end_the_training_with_the_files_name(
    cli: Cli, corpus: Path, tmp_path: Path, num_workers: int
) -> None:
    for path in corpus.rglob("*.flac"):
        samples, rate = soundfile.read(path, dtype="float32")
        samples[:] = np.nan
        path.unlink()
        soundfile.write(path.with_suffix(".wav"), samples, rate, "FLOAT")
    settings = ("--set", f"data.speech={corpus}", "--set", f"data.num_workers={num_workers}")
    outcome = cli("train", "--config", TINY, "--run", tmp_path / "run", *settings)
    assert outcome.code == 1
    assert ".wav" in outcome.err and "finite" in outcome.err


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("loss.ta_weigth=0.2", "did you mean 'ta_weight'"),
        ("train.batch_size=many", "train.batch_size"),
        ("train.batch_size", "="),
        ("loss.absent.kind=soft", "hinge"),
        ("model.kind=huge", "compact"),
        ("validation.num_scenes=1", "validation.num_scenes"),
        ("loss.ta_weight=1.5", "loss.ta_weight"),
    ],
)
def test_a_wrong_override_is_named(cli: Cli, tmp_path: Path, override: str, said: str) -> None:
    outcome = cli("train", "--config", TINY, "--run", tmp_path / "run", "--set", override)
    assert outcome.code == 2
    assert said in outcome.err
    assert override.split("=")[0].split(".")[-1] in outcome.err


def test_a_wrong_line_in_the_file_is_named(cli: Cli, tmp_path: Path) -> None:
    text = TINY.read_text()
    (tmp_path / "wrong.yaml").write_text(text.replace("batch_size: 4", "batch_sise: 4", 1))
    number = next(i for i, line in enumerate(text.splitlines(), 1) if "batch_size: 4" in line)
    outcome = cli("train", "--config", tmp_path / "wrong.yaml", "--run", tmp_path / "run")
    assert outcome.code == 2
    assert f"wrong.yaml:{number}: train.batch_sise" in outcome.err


def test_a_run_that_exists_is_not_overwritten(cli: Cli, trained: Path) -> None:
    before = Run(trained).checkpoint_path(12).read_bytes()
    outcome = cli("train", "--config", TINY, "--run", trained)
    assert outcome.code == 2
    assert "hifitse resume" in outcome.err
    assert Run(trained).checkpoint_path(12).read_bytes() == before


@pytest.mark.parametrize("command", ["resume", "validate", "select-best"])
def test_a_missing_run_is_named(cli: Cli, tmp_path: Path, command: str) -> None:
    outcome = cli(command, "--config", TINY, "--run", tmp_path / "none")
    assert outcome.code == 2
    assert "no such run" in outcome.err
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("command", ["resume", "validate", "smoke"])
def test_a_missing_checkpoint_is_named_and_never_starts_over(cli: Cli, trained: Path, command: str) -> None:
    outcome = cli(command, "--run", trained, "--from", 7)
    assert outcome.code == 2
    assert "no checkpoint at step 7" in outcome.err
    assert Run(trained).checkpoint_steps() == [2, 4, 6, 8, 10, 12]


def test_another_model_shape_is_refused_on_resume(cli: Cli, trained: Path) -> None:
    outcome = cli("resume", "--run", trained, "--from", 8, "--set", "model.feature_dim=24")
    assert outcome.code in (1, 2)
    assert "model" in outcome.err
    assert Run(trained).checkpoint_steps() == [2, 4, 6, 8, 10, 12]


def test_damaged_checkpoints_are_skipped_and_named(cli: Cli, trained: Path) -> None:
    run = Run(trained)
    cut, flipped = run.checkpoint_path(12), run.checkpoint_path(10)
    cut.write_bytes(cut.read_bytes()[:1000])
    data = bytearray(flipped.read_bytes())
    data[-1] ^= 1
    flipped.write_bytes(data)
    run.checkpoint_path(6).write_bytes(run.checkpoint_path(8).read_bytes())
    run.checkpoint_path(8).write_bytes(run.checkpoint_path(4).read_bytes())
    outcome = cli("resume", "--run", trained)
    assert outcome.code == 0
    for step in (12, 10, 8, 6):
        assert f"warning: skipped {run.checkpoint_path(step)}: damaged" in outcome.err
    assert "training from step 4" in outcome.err
    assert CheckpointRef("last").load(run)[1] == []


@pytest.mark.parametrize(
    ("name", "samples", "said"),
    [
        ("silent.wav", np.zeros(16000), "silence"),
        ("short.wav", np.ones(10), "at least"),
        ("nan.wav", np.full(16000, np.nan, dtype=np.float32), "finite"),
    ],
)
def test_extract_refuses_what_is_no_voice(
    cli: Cli, trained: Path, tmp_path: Path, name: str, samples: np.ndarray, said: str
) -> None:
    soundfile.write(tmp_path / name, samples, 16000, "FLOAT")
    mixture = next(SPEECH.rglob("*.flac"))
    outcome = cli("extract", mixture, tmp_path / name, "-o", tmp_path / "out.wav", "--run", trained, "--from", 12)
    assert outcome.code == 1
    assert name in outcome.err and said in outcome.err
    assert not (tmp_path / "out.wav").exists()


def test_extract_writes_only_what_keeps_the_level(cli: Cli, trained: Path) -> None:
    outcome = cli("extract", "a.wav", "b.wav", "-o", "out.mp3", "--run", trained)
    assert outcome.code == 2
    assert ".wav" in outcome.err


def test_an_unknown_device_or_metric_is_named(cli: Cli, trained: Path) -> None:
    assert "--device tpu" in cli("validate", "--run", trained, "--device", "tpu").err
    assert cli("validate", "--run", trained, "--device", "cuda:99").code == 2
    assert "unknown metric" in cli("select-best", "--run", trained, "--metric", "beauty").err


@pytest.mark.parametrize("stop_at", [6, 4, 99])
def test_a_stop_that_is_not_ahead_is_refused_before_anything_moves(cli: Cli, trained: Path, stop_at: int) -> None:
    outcome = cli("resume", "--run", trained, "--from", 6, "--stop-at", stop_at)
    assert outcome.code == 2
    assert f"--stop-at {stop_at}" in outcome.err
    assert Run(trained).checkpoint_steps() == [2, 4, 6, 8, 10, 12]


def test_a_folder_that_cannot_be_written_is_named(cli: Cli, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    outcome = cli("train", "--config", TINY, "--run", tmp_path / "file" / "run")
    assert outcome.code == 1
    assert str(tmp_path / "file") in outcome.err
    assert cli("data", "preview", "--run", trained, "-n", 1, "-o", tmp_path / "file" / "x").code == 1
    voice = next(SPEECH.rglob("*.flac"))
    outcome = cli("extract", voice, voice, "-o", tmp_path / "none" / "out.wav", "--run", trained, "--from", 12)
    assert outcome.code == 2
    assert "there is no folder" in outcome.err


def test_a_resume_names_a_run_that_does_not_exist_before_its_step(cli: Cli, tmp_path: Path) -> None:
    outcome = cli("resume", "--config", TINY, "--run", tmp_path / "none", "--from", 200000, "--reset-optimizer")
    assert outcome.code == 2
    assert "no such run" in outcome.err


def test_a_run_that_ended_before_its_first_checkpoint_can_be_started_over(cli: Cli, tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    run.path.mkdir()
    run.config_path.write_text("seed: 7\n")
    append_rows(run.metrics_path, {"step": 1, "kind": "step"})
    assert cli("train", "--config", TINY, "--run", run.path, "--stop-at", 1).code == 0
    assert [row.step for row in read_metrics(run)] == [1]
    assert not (run.path / "abandoned").exists(), "rows without a checkpoint are no branch"


def test_resume_of_a_run_without_a_checkpoint_says_how_to_start_it_over(cli: Cli, tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    run.path.mkdir()
    run.config_path.write_text(TINY.read_text())
    outcome = cli("resume", "--run", run.path)
    assert outcome.code == 2
    assert f"ended before its first checkpoint; start it over with hifitse train --run {run.path}" in outcome.err


@pytest.mark.parametrize("damage", ["vanished", "corrupt"])
def test_a_file_that_goes_bad_in_mid_run_costs_no_finished_step(
    cli: Cli, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    run, spare = Run(tmp_path / "run"), Path(shutil.copytree(corpus, tmp_path / "spare"))
    original = stepping.train_step

    def step(state: Any, *arguments: Any) -> stepping.StepResult:
        if state.step == 5:
            for file in corpus.rglob("*.flac"):
                file.unlink() if damage == "vanished" else file.write_bytes(file.read_bytes()[:100])
        return original(state, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(stepping, "train_step", step)
        settings = ("--set", f"data.speech={corpus}", "--set", "train.checkpoint_every=100")
        outcome = cli("train", "--config", TINY, "--run", run.path, *settings)
    assert outcome.code == 1
    assert ".flac" in outcome.err and "error: " in outcome.err
    assert run.checkpoint_steps() == [4, 5], "the phase boundary, and the last step that could be done"
    assert read_events(run)[-1].kind == "failed"
    shutil.rmtree(corpus)
    shutil.copytree(spare, corpus)
    assert cli("resume", "--run", run.path).code == 0
    assert [row.step for row in read_metrics(run) if row.kind == "step"] == list(range(1, 13))


@pytest.mark.parametrize("content", ["", "[]", '{"raw_metrics": 1}'])
def test_damaged_records_are_named_with_the_remedy(cli: Cli, trained: Path, content: str) -> None:
    run = Run(trained)
    assert cli("select-best", "--run", trained).code == 0
    run.validation_path(8).write_text(content)
    outcome = cli("select-best", "--run", trained)
    assert outcome.code == 0 and f"hifitse validate --run {trained} --from" in outcome.out
    run.best_path.write_text(content)
    for command in (("export", "-o", trained.parent / "m.safetensors"), ("resume", "--from", 4)):
        outcome = cli(*command, "--run", trained)
        assert outcome.code == 1 and "best.json: unreadable" in outcome.err
    assert run.checkpoint_steps()[-1] == 12


def test_an_empty_run_name_is_refused_and_a_bare_one_is_under_runs(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli("train", "--config", TINY, "--run", "").code == 2
    (tmp_path / "tiny").mkdir()
    assert cli("train", "--config", TINY, "--stop-at", 1).code == 0
    assert Run(tmp_path / "runs" / "tiny").exists()
    assert list((tmp_path / "tiny").iterdir()) == []


def test_extract_does_not_overwrite_what_it_reads(cli: Cli, trained: Path, tmp_path: Path) -> None:
    recording = tmp_path / "r.wav"
    soundfile.write(recording, np.random.default_rng(0).normal(0, 0.1, 16000), 8000)
    before = recording.read_bytes()
    outcome = cli("extract", recording, recording, "-o", recording, "--run", trained, "--from", "last")
    assert outcome.code == 2 and "would be overwritten" in outcome.err
    assert recording.read_bytes() == before


@pytest.mark.parametrize("command", ["resume", "validate", "smoke"])
def test_a_run_without_its_configuration_takes_no_other(cli: Cli, trained: Path, command: str) -> None:
    (trained / "config.yaml").unlink()
    outcome = cli(command, "--run", trained)
    assert outcome.code == 2
    assert f"{trained}/config.yaml: is missing; name the configuration with --config FILE" in outcome.err


def test_a_name_that_is_no_text_is_refused_before_anything_is_made(cli: Cli, tmp_path: Path) -> None:
    outcome = cli("train", "--config", TINY, "--run", f"{tmp_path}/x\udcff")
    assert outcome.code == 2 and "not UTF-8, which names of runs have to be" in outcome.err
    assert not list(tmp_path.iterdir())
