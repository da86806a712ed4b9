"""Tools hold exactly the rows of metrics.jsonl, whatever happens to a run."""

import signal
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from hifitse.json_log import read_rows
from hifitse.runs.records import read_events, read_metrics
from hifitse.runs.run import Run
from tests.helpers import TINY, Cli
from tests.processes import endless_training, wait_for
from tests.tracking.holdings import in_place, in_tensorboard, in_trackio

ENDLESS = ("train.validate_every=50", "train.checkpoint_every=50")


@pytest.fixture
def database(trackio_home: Path, tmp_path: Path) -> Path:
    """Of the project of this test."""
    return trackio_home / f"{tmp_path.name}.db"


@pytest.fixture
def tracking(database: Path) -> str:
    return f"tracking=[{{kind: tensorboard}}, {{kind: trackio, project: {database.stem}}}]"


def last_sent(run: Run) -> int:
    """Return the last step that trackio was sent."""
    return max((row["step"] for row in read_rows(run.path / "trackio" / "sent.jsonl") if "step" in row), default=0)


def test_after_a_kill_the_steps_that_are_done_again_are_there_once(
    cli: Cli, run: Run, database: Path, tracking: str
) -> None:
    with endless_training(run, *ENDLESS, tracking) as process:
        # Some rows behind a checkpoint have been sent when it is killed: they are gone from metrics.jsonl afterwards.
        assert wait_for(lambda: run.validation_steps() and last_sent(run) > run.checkpoint_steps()[-1] + 10)
        process.send_signal(signal.SIGKILL)
        process.wait()
    step = run.checkpoint_steps()[-1]
    assert max(held[1] for held in in_trackio(database)["demo"]) > step
    arguments = ("--set", "loss.phase_weight=0.2", "--stop-at", step + 5)
    assert cli("resume", "--run", run.path, *arguments).code == 0
    assert len({row.step for row in read_metrics(run)}) == step + 5
    assert in_trackio(database) == {"demo": in_place(run)}
    assert in_tensorboard(run.path / "tensorboard") == in_place(run)
    heard = EventAccumulator(str(run.path / "tensorboard")).Reload().Tensors("scene_00000/estimate")
    assert [event.step for event in heard] == run.validation_steps(), "audio of before the checkpoint stays"


def test_a_resume_goes_on_in_the_same_runs(cli: Cli, run: Run, database: Path, tracking: str) -> None:
    assert cli("train", "--config", TINY, "--run", run.path, "--set", tracking, "--stop-at", 6).code == 0
    assert cli("resume", "--run", run.path).code == 0
    assert in_trackio(database) == {"demo": in_place(run)}
    assert in_tensorboard(run.path / "tensorboard") == in_place(run)


def test_a_resume_from_an_older_step_and_a_rollback_begin_runs_that_have_the_steps_before(
    cli: Cli, run: Run, database: Path, tracking: str
) -> None:
    arguments = ("--set", tracking, "--set", "train.checkpoint_every=1", "--set", "train.validate_every=2")
    assert cli("train", "--config", TINY, "--run", run.path, *arguments).code == 0
    first = in_place(run)
    assert cli("resume", "--run", run.path, "--from", 6, "--set", "loss.ta_weight=0.3", "--stop-at", 8).code == 0
    second = in_place(run)
    # Unhealthy since step 6, so step 4 is the newest healthy one; the second time it stops.
    guard = "{name: level_low, metric: rms_ratio, below: 100, phases: with_ta, patience: 2, action: rollback}"
    guards = ("--set", f"health.guards=[{guard}]", "--set", "health.max_rollbacks=1")
    assert cli("resume", "--run", run.path, *guards).code == 3
    assert [event.step for event in read_events(run) if event.kind == "rollback"] == [8]
    branches = {"demo": first, "demo/02": second, "demo/03": in_place(run)}
    assert in_trackio(database) == branches
    folder = run.path / "tensorboard"
    assert {"demo": in_tensorboard(folder)} | {
        f"demo/{number}": in_tensorboard(folder / number) for number in ("02", "03")
    } == branches


def test_a_fork_has_the_steps_before_and_leaves_the_old_one_alone(
    cli: Cli, run: Run, database: Path, tracking: str
) -> None:
    assert cli("train", "--config", TINY, "--run", run.path, "--set", tracking).code == 0
    fork = Run(run.path.with_name("trial"))
    assert cli("resume", "--run", run.path, "--from", 6, "--as", fork.path, "--set", "loss.ta_weight=0.3").code == 0
    assert in_trackio(database) == {"demo": in_place(run), "trial": in_place(fork)}
    assert in_tensorboard(run.path / "tensorboard") == in_place(run)
    assert in_tensorboard(fork.path / "tensorboard") == in_place(fork)


def test_what_was_trained_before_tools_were_told_is_sent_when_they_are(
    cli: Cli, run: Run, database: Path, tracking: str
) -> None:
    none = ("--set", "tracking=[]")
    assert cli("train", "--config", TINY, "--run", run.path, "--stop-at", 6, *none).code == 0
    assert not (run.path / "tensorboard").exists()
    outcome = cli("resume", "--run", run.path, "--set", tracking)
    assert outcome.code == 0
    assert in_trackio(database) == {"demo": in_place(run)}
    assert in_tensorboard(run.path / "tensorboard") == in_place(run)


def test_the_settings_are_with_it_and_what_scenes_sound_and_look_like(cli: Cli, run: Run) -> None:
    assert cli("train", "--config", TINY, "--run", run.path, "--set", "tracking={kind: tensorboard}").code == 0
    board = EventAccumulator(str(run.path / "tensorboard")).Reload()
    (config,) = board.Tensors("config")
    assert "total_steps: 12" in config.tensor_proto.string_val[0].decode()
    hyperparameters = board.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    assert b"train.total_steps" in hyperparameters
    assert [event.step for event in board.Tensors("scene_00000/estimate")] == [4, 8, 12]
    for part in ("mixture", "reference", "target"):
        (clip,) = board.Tensors(f"scene_00002/{part}")
        assert clip.tensor_proto.string_val[0].startswith(b"RIFF"), "what never changes is there once"
    assert [event.step for event in board.Images("scene_00002/spectrograms")] == [4, 8, 12]
    assert "scene_00003/estimate" not in board.Tags()["tensors"]


def test_trackio_has_settings_audio_and_spectrograms(cli: Cli, run: Run, database: Path, tracking: str) -> None:
    assert cli("train", "--config", TINY, "--run", run.path, "--set", tracking).code == 0
    from trackio import Api

    (found,) = Api().runs(database.stem)
    assert found.config["train.total_steps"] == 12
    files = [path.suffix for path in database.with_name("media").rglob(f"{database.stem}/**/*") if path.is_file()]
    assert files.count(".png") == 9 and files.count(".wav") == 9 + 9


def test_rows_are_noted_as_sent(cli: Cli, run: Run) -> None:
    assert cli("train", "--config", TINY, "--run", run.path).code == 0
    rows = read_rows(run.path / "tensorboard" / "sent.jsonl")
    assert rows[0]["name"] == "demo" and rows[-1] == {"closed": True}
    assert [row["step"] for row in rows[1:-1]] == [row.step for row in read_metrics(run)]
