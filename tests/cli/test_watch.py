"""A training is seen from elsewhere, on a terminal it is worth looking at, and its log says what it said."""

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hifitse.runs.heartbeat import read_heartbeat
from hifitse.runs.run import Run
from tests.helpers import TINY, Cli
from tests.processes import endless_training, wait_for


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "run")


def files(run: Run) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}


def test_a_training_is_seen_from_another_process_until_it_is_killed(cli: Cli, run: Run) -> None:
    with endless_training(run, "train.log_every=10", "train.validate_every=20") as process:
        assert wait_for(lambda: (beat := read_heartbeat(run)) and beat.step > 20)
        seen = json.loads(cli("watch", run.path, "--json").out)
        assert (seen["state"], seen["total_steps"], seen["heartbeat"]["process"]) == ("training", 90000, process.pid)
        assert seen["step"] > 20 and seen["validation"]["step"] >= 20
        # While it validates, nobody knows how long is left.
        assert wait_for(lambda: " left" in cli("watch", run.path).out)
        text = cli("watch", run.path).out
        assert "tp_ta" in text and "SI-SDRi" in text and "waiting for data" in text
        (listed,) = json.loads(cli("runs", run.path.parent, "--json").out)
        assert listed["state"] == "training" and listed["step"] > 20 and listed["beat"]["scenes_per_second"] > 0
        assert wait_for(lambda: " left" in cli("runs", run.path.parent).out)
        table = cli("runs", run.path.parent).out
        assert "loss " in table and "scenes/s" in table
        process.kill()
        process.wait()
    beat = read_heartbeat(run)
    assert beat and beat.is_fresh, "it ended without a word"
    before = files(run)
    dead = json.loads(cli("watch", run.path, "--json").out)
    assert dead["state"] == "failed" and dead["step"] >= beat.step
    assert "failed" in cli("watch", run.path).out
    assert files(run) == before, "who watches changes nothing"


def test_a_run_that_ended_is_shown_as_it_is(cli: Cli, trained: Path) -> None:
    assert read_heartbeat(Run(trained)) is None
    text = cli("watch", trained).out
    assert "finished" in text and "8/8" in text and " left" not in text
    outcome = cli("watch", trained.parent / "nothing")
    assert outcome.code == 2 and "no such run" in outcome.err


def test_ctrl_c_on_a_terminal_leaves_a_whole_view_and_the_command_to_go_on_with(run: Run) -> None:
    endless = ("train.total_steps=90000", "train.validate_every=90000", "train.checkpoint_every=90000")
    command = [sys.executable, "-m", "hifitse", "train", "--config", str(TINY), "--run", str(run.path)]
    command += [part for setting in endless for part in ("--set", setting)]
    main, terminal = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "80", "LINES": "24", "OMP_NUM_THREADS": "1"}
    shown = bytearray()
    with subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, env=environment) as process:
        os.close(terminal)
        while b"grad norm" not in shown:
            shown += os.read(main, 65536)
        process.send_signal(signal.SIGINT)
        while True:
            try:
                shown += os.read(main, 65536)
            except OSError:
                # Linux says so when nobody writes any more.
                break
    os.close(main)
    assert process.returncode == 130
    end = shown.decode()[-3000:].replace("\r\n", "")
    assert "\x1b[?25h" in end, "the cursor is back"
    assert end.rindex("grad norm") < end.rindex("interrupted after step"), "nothing is drawn over it"
    last = end[end.rindex("interrupted after step") :]
    assert "the state is saved; go on with: hifitse resume --run" in last and last.endswith(run.argument)
    log = run.log_path.read_text()
    assert "step 1/90000  phase tp  loss" in log, "the log has in lines what the terminal had in pictures"
    assert "\x1b" not in log


def test_the_log_holds_what_stderr_showed_run_after_run(cli: Cli, run: Run) -> None:
    first = cli("train", "--config", TINY, "--run", run.path, "--stop-at", 4)
    second = cli("resume", "--run", run.path, "--set", "loss.ta_weight=0.2")
    lines = run.log_path.read_text().splitlines()
    commands = [number for number, line in enumerate(lines) if line.split("  ")[1].startswith("hifitse ")]
    assert len(commands) == 2 and all(line[:2] == "20" for line in lines)
    for start, end, outcome in ((commands[0], commands[1], first), (commands[1], None, second)):
        logged = [line.split("  ", 1)[1] for line in lines[start + 1 : end]]
        assert logged == outcome.err.splitlines()
