"""on_event: what happens to a run goes to a command of the user's, and only of the user's."""

import json
import sys
from pathlib import Path

from hifitse.checkpoint.file import load_checkpoint, save_checkpoint
from hifitse.config.files import load_config
from hifitse.runs.records import read_events
from hifitse.runs.run import Run
from tests.helpers import TINY, Cli

SCRIPT = "import sys; open(sys.argv[1], 'a').write(sys.stdin.read())"


def command(seen: Path) -> tuple[str, str]:
    return "--set", f"on_event={json.dumps([sys.executable, '-c', SCRIPT, str(seen)])}"


def events_in(seen: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in seen.read_text().splitlines()]


def test_every_event_of_a_run_is_given(cli: Cli, tmp_path: Path) -> None:
    run, seen = Run(tmp_path / "run"), tmp_path / "seen"
    assert cli("train", "--config", TINY, "--run", run.path, "--stop-at", 6, *command(seen)).code == 0
    # It is in the run's own configuration, so a resume goes on with it; what is changed is an event, too.
    outcome = cli("resume", "--run", run.path, "--set", "loss.ta_weight=0.2")
    assert outcome.code == 0 and "each event goes to: " in outcome.err
    assert "on_event" not in outcome.err.replace("each event", ""), "it is no change of the training"
    given = events_in(seen)
    assert {event.pop("run") for event in given} == {str(run.path)}
    assert given == [row.model_dump() for row in read_events(run)]
    assert [event["kind"] for event in given] == ["started", "paused", "config_changed", "resumed", "finished"]


def test_its_failure_is_an_event_and_ends_nothing(cli: Cli, tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    failing = json.dumps([sys.executable, "-c", "import sys; sys.exit('the server is down')"])
    outcome = cli("train", "--config", TINY, "--run", run.path, "--set", f"on_event={failing}")
    assert outcome.code == 0 and run.checkpoint_steps()[-1] == 12
    failures = [row.get("message") for row in read_events(run) if row.kind == "on_event_failed"]
    assert failures == [
        f"on_event: the command failed for the event {kind}: exit code 1: the server is down"
        for kind in ("started", "finished")
    ]
    assert "warning: on_event: the command failed" in " ".join(outcome.err.split())


def test_no_file_with_weights_brings_a_command_or_takes_it_along(cli: Cli, tmp_path: Path) -> None:
    run, seen, copied = Run(tmp_path / "run"), tmp_path / "seen", Run(tmp_path / "copy")
    assert cli("train", "--config", TINY, "--run", run.path, "--stop-at", 4, *command(seen)).code == 0
    assert len(load_config(run.config_path).on_event) == 4
    checkpoint = load_checkpoint(run.checkpoint_path(4))
    assert "on_event" not in checkpoint.header.config
    exported = tmp_path / "model.safetensors"
    assert cli("export", "--run", run.path, "--from", 4, "-o", exported).code == 0
    assert str(seen).encode() not in exported.read_bytes()

    # Somebody's checkpoint that has one all the same.
    seen.unlink()
    forged = tmp_path / "forged" / "checkpoints" / "step_00000004.safetensors"
    checkpoint.header.config["on_event"] = list(load_config(run.config_path).on_event)
    save_checkpoint(forged, checkpoint.header, checkpoint.tensors)
    outcome = cli("resume", "--from", forged, "--as", copied.path, "--stop-at", 6)
    assert outcome.code == 0, outcome.err
    assert cli("train", "--config", TINY, "--init", forged, "--run", tmp_path / "new", "--stop-at", 2).code == 0
    assert not seen.exists() and load_config(copied.config_path).on_event == ()
