"""hifitse runs, retention, and what a resume says about a changed configuration, through the command line."""

import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from hifitse.commands import _runs_table
from hifitse.runs.branches import archive_after
from hifitse.runs.checkpoint_ref import CheckpointRef
from hifitse.runs.records import read_best, read_events
from hifitse.runs.run import Run
from tests.helpers import SPEECH, TINY, Cli, append_rows


def content(path: Path) -> dict[str, bytes]:
    """Return the branch that is in place: checkpoints, validations, metrics, best and configuration."""
    files = [*path.glob("checkpoints/*"), *path.glob("validation/*"), *path.glob("*.yaml")]
    files += [file for name in ("metrics.jsonl", "best.json") if (file := path / name).exists()]
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


def summary(cli: Cli, path: Path) -> dict:
    (found,) = json.loads(cli("runs", path, "--json").out)
    return found


# Listing


def test_a_finished_run_with_its_fork_its_best_and_its_pins(cli: Cli, trained: Path, tmp_path: Path) -> None:
    assert cli("select-best", "--run", trained).code == 0
    assert cli("runs", "pin", "--run", trained, "--from", 6, "--reason", "a figure").code == 0
    assert cli("resume", "--run", trained, "--from", 6, "--as", tmp_path / "fork", "--stop-at", 7).code == 0
    base, fork = json.loads(cli("runs", tmp_path, "--json").out)
    assert (base["state"], base["step"], base["total_steps"]) == ("finished", 12, 12)
    assert base["best"] == read_best(Run(trained)).model_dump()
    assert base["pins"]["6"]["reason"] == "a figure"
    assert (fork["state"], fork["step"], fork["parent"]) == ("paused", 7, str(trained))

    lines = cli("runs", tmp_path).out.splitlines()
    assert lines[-2].startswith("trained") and "finished" in lines[-2] and "12/12" in lines[-2]
    assert "1 pinned" in lines[-2]
    assert lines[-1].startswith("└─fork") and "paused" in lines[-1]
    assert str(trained) in cli("runs", tmp_path / "fork").out, "an origin that is not listed is named"


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_fits_and_says_all(
    trained: Path, tmp_path: Path, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hifitse.runs.run import find_runs
    from hifitse.runs.summary import summarize
    from hifitse.runs.tree import forest

    name = "a_run_with_a_name_that_is_far_too_long_for_any_terminal"
    trained.rename(tmp_path / name)
    run = Run(tmp_path / name)
    append_rows(run.events_path, {"kind": "stopped", "step": 12, "guard": "over_suppression"})
    run.config_path.write_text("train: {total_steps: 500000}\n")
    run.best_path.write_text('{"step": 235417, "metric": "tp_si_sdr", "value": -12.345}')
    run.pins_path.write_text('{"8": {}}')
    written = io.StringIO()
    monkeypatch.setattr(_runs_table, "out", Console(width=width, file=written, force_terminal=True, no_color=True))
    _runs_table.print_runs(forest([summarize(path) for path in find_runs(tmp_path)]), tmp_path)
    text = written.getvalue()
    for part in ("over_suppression", "12/500k", "-12.35 at", "235417", "1 pinned", "tp_si_sdr"):
        assert part in text, part
    assert max(len(re.sub("\x1b.*?m", "", line)) for line in text.splitlines()) <= width


def test_damaged_and_half_made_runs_are_listed_as_such(cli: Cli, tmp_path: Path) -> None:
    broken = Run(tmp_path / "broken")
    broken.path.mkdir()
    broken.config_path.write_text("train: [torn")
    append_rows(broken.metrics_path, {"kind": "step", "step": 7})
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "lock").touch()
    outcome = cli("runs", tmp_path)
    assert outcome.code == 0
    assert "damaged" in outcome.out and "config.yaml cannot be read" in outcome.out
    assert "empty" in outcome.out


def test_a_folder_without_runs_and_one_that_is_not_there(cli: Cli, tmp_path: Path) -> None:
    outcome = cli("runs", tmp_path)
    assert (outcome.code, outcome.out) == (0, "")
    assert "no runs here" in outcome.err
    outcome = cli("runs", tmp_path / "none")
    assert outcome.code == 2
    assert "no such folder" in outcome.err
    assert not (tmp_path / "none").exists()


def test_the_list_loads_no_torch(trained: Path) -> None:
    code = f"""
import sys
sys.argv = ["hifitse", "runs", {str(trained)!r}]
from hifitse.cli import main
try:
    main()
except SystemExit:
    pass
print("torch" in sys.modules)
"""
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "finished" in shown.stdout
    assert shown.stdout.splitlines()[-1] == "False"


# Pins and retention


def test_retention_keeps_what_it_promises_and_selection_says_what_it_deleted(cli: Cli, tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    budget = ("--set", "retention.keep_last=2", "--set", "retention.keep_best=0")
    assert cli("train", "--config", TINY, "--run", run.path, "--stop-at", 6).code == 0
    assert run.checkpoint_steps() == [2, 4, 6], "by default nothing is deleted"
    assert cli("runs", "pin", "--run", run.path, "--from", 2).code == 0
    guards = ("--set", "health.guards=[]")
    assert cli("resume", "--run", run.path, *budget, *guards, "--set", "train.validate_every=2").code == 0
    # 2: pinned, 4: end of phase tp, 10 and 12: the last two, and 12 the newest healthy one.
    assert run.checkpoint_steps() == [2, 4, 10, 12]
    assert run.validation_steps() == [4, 6, 8, 10, 12], "validation results stay"
    assert [event.get("checkpoint") for event in read_events(run) if event.kind == "deleted"] == [6, 8]
    selected = cli("select-best", "--run", run.path)
    assert "2 of which only the validation result is left (deleted by retention): 6, 8" in selected.out

    assert cli("runs", "unpin", "--run", run.path, "--from", 2).code == 0
    outcome = cli("runs", "unpin", "--run", run.path, "--from", 2)
    assert outcome.code == 2
    assert "step 2 is not pinned" in outcome.err


def test_a_pin_needs_a_run_and_a_checkpoint(cli: Cli, trained: Path, tmp_path: Path) -> None:
    outcome = cli("runs", "pin", "--run", trained, "--from", 7)
    assert outcome.code == 2
    assert "no checkpoint at step 7" in outcome.err
    outcome = cli("runs", "pin", "--run", tmp_path / "none", "--from", 7)
    assert outcome.code == 2
    assert "no such run" in outcome.err
    assert not (tmp_path / "none").exists()


# Archived branches


def test_restore_puts_a_branch_back_and_again_undoes_it(cli: Cli, trained: Path) -> None:
    assert cli("select-best", "--run", trained).code == 0
    first = content(trained)
    change = ("--set", "loss.ta_weight=0.3")
    assert cli("resume", "--run", trained, "--from", 6, "--stop-at", 9, *change).code == 0
    second = content(trained)
    assert summary(cli, trained)["abandoned"] == ["01"]

    outcome = cli("runs", "restore", "--run", trained, "01")
    assert outcome.code == 0
    assert f"hifitse runs restore --run {trained} 02" in outcome.err
    assert content(trained) == first
    assert summary(cli, trained)["state"] == "finished"
    assert "finished at step 12" in cli("resume", "--run", trained).err, "with its own configuration"

    assert cli("runs", "restore", "--run", trained, "02").code == 0
    assert content(trained) == second
    assert (summary(cli, trained)["state"], summary(cli, trained)["abandoned"]) == ("paused", ["03"])
    assert cli("resume", "--run", trained).code == 0


def test_restore_undoes_a_rollback_with_the_checkpoint_that_it_replaced(cli: Cli, tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    guard = "health.guards=[{name: low, metric: rms_ratio, below: 100, phases: with_ta, patience: 1, action: rollback}]"
    unhealthy = ("--set", guard, "--set", "health.max_rollbacks=1")
    assert cli("train", "--config", TINY, "--run", run.path, *unhealthy).code == 3
    second = content(run.path)
    outcome = cli("runs", "restore", "--run", run.path, "1")
    assert outcome.code == 0, outcome.err
    assert content(run.path) != second
    last, _ = CheckpointRef("last").load(run)
    assert (last.header.step, last.header.num_rollbacks) == (8, 0)
    assert CheckpointRef("4").load(run)[0].header.num_rollbacks == 0
    assert cli("runs", "restore", "--run", run.path, "2").code == 0
    assert content(run.path) == second


def test_a_run_that_trains_is_not_touched(cli: Cli, trained: Path) -> None:
    run = Run(trained)
    archive_after(run, 8)
    before = content(trained)
    with run.lock():
        outcome = cli("runs", "restore", "--run", trained, "01")
    assert outcome.code == 2
    assert "is training this run" in outcome.err
    assert content(trained) == before


# A changed configuration


def test_a_change_that_matters_is_shown_and_noted(cli: Cli, trained: Path) -> None:
    changes = ("--set", "loss.ta_weight=0.5", "--set", "train.micro_batch_size=4")
    outcome = cli("resume", "--run", trained, "--from", 8, *changes, "--stop-at", 9)
    assert outcome.code == 0
    assert "changed: train.micro_batch_size: 2 -> 4 (free)" in outcome.err
    assert "changed: loss.ta_weight: 0.1 -> 0.5 (matters: another objective" in outcome.err
    (event,) = [event for event in read_events(Run(trained)) if event.kind == "config_changed"]
    assert event.step == 8
    noted = [(change["key"], change["old"], change["new"], change["change_class"]) for change in event.get("changes")]
    assert noted == [("loss.ta_weight", 0.1, 0.5, "matters"), ("train.micro_batch_size", 2, 4, "free")]
    header = CheckpointRef("9").load(Run(trained))[0].header
    assert header.config["loss"]["ta_weight"] == 0.5
    # From there on nothing is new.
    assert "changed" not in cli("resume", "--run", trained, "--stop-at", 10).err


@pytest.mark.parametrize("key", ["model.feature_dim=24", "audio.sample_rate=16000"])
def test_another_network_is_refused_before_anything_moves(cli: Cli, trained: Path, tmp_path: Path, key: str) -> None:
    before = content(trained)
    for target in ((), ("--as", tmp_path / "fork")):
        outcome = cli("resume", "--run", trained, "--from", 8, "--set", key, *target)
        assert outcome.code == 2
        name, new = key.split("=")
        assert name in outcome.err and new in outcome.err and "the checkpoint of step 8" in outcome.err
        assert "hifitse train --run NAME" in outcome.err
    assert content(trained) == before
    assert not (tmp_path / "fork").exists()


def test_other_recordings_are_a_change_that_matters(cli: Cli, trained: Path, tmp_path: Path) -> None:
    speech = Path(shutil.copytree(SPEECH, tmp_path / "speech"))
    moved = ("--set", f"data.speech={speech}", "--stop-at", 9)
    assert "changed: data fingerprint" not in cli("resume", "--run", trained, "--from", 8, *moved).err
    sorted(speech.rglob("*.flac"))[0].unlink()
    outcome = cli("resume", "--run", trained, "--from", 8, *moved)
    assert outcome.code == 0
    assert "changed: data fingerprint: " in outcome.err and "the recordings are not those" in outcome.err


def test_on_a_terminal_the_changes_are_a_table_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    from hifitse.commands import _changes
    from hifitse.config.changes import Change, classify_change

    written = io.StringIO()
    monkeypatch.setattr(_changes, "err", Console(width=80, file=written, force_terminal=True, no_color=True))
    changes = [Change("train.total_steps", 500_000, 600_000), Change("mixing.sir_db", [-5.0, 5.0], None)]
    _changes.show_changes([classify_change(change) for change in changes], 200_000)
    for part in ("train.total_steps", "500000", "600000", "learning rate", "[-5.0, 5.0]", "null"):
        assert part in written.getvalue(), part
