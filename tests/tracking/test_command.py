"""Events go to a command of the user's, which may do as it pleases: the training does not wait for it."""

import json
import sys
import time
from pathlib import Path

import pytest

from hifitse.tracking.command import EventCommand
from tests.processes import marked, wait_for

EVENT = {"kind": "started", "step": 0, "message": "training from step 0"}


def python(*lines: str) -> list[str]:
    return [sys.executable, "-c", "\n".join(lines)]


def test_the_command_gets_each_event_on_its_standard_input_in_order(tmp_path: Path) -> None:
    file = tmp_path / "seen"
    command = [*python("import sys", "open(sys.argv[1], 'a').write(sys.stdin.read())"), str(file)]
    with EventCommand(command) as events:
        for step in range(3):
            events.send(EVENT | {"step": step})
    assert [json.loads(line) for line in file.read_text().splitlines()] == [EVENT | {"step": step} for step in range(3)]
    assert events.failed() == []


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (python("import sys", "sys.exit('no such room')"), "exit code 1: no such room"),
        (["/nonexistent/notify"], "/nonexistent/notify: No such file or directory"),
        (python("import os", "os.kill(os.getpid(), 9)"), "exit code -9"),
    ],
)
def test_a_command_that_fails_says_why(command: list[str], reason: str) -> None:
    with EventCommand(command) as events:
        events.send(EVENT)
    assert events.failed() == [(EVENT, reason)]
    assert events.failed() == [], "each failure is reported once"


def test_one_that_hangs_is_ended_with_all_that_it_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIFITSE_TEST_MARK", "an-event-that-hangs")
    command = python("import subprocess, time", "subprocess.Popen(['sleep', '600'])", "time.sleep(600)")
    begun = time.monotonic()
    with EventCommand(command, limit_seconds=1) as events:
        events.send(EVENT)
        assert time.monotonic() - begun < 0.5, "nobody waits for it"
        assert wait_for(lambda: len(marked("an-event-that-hangs")) == 2, 30)
    assert time.monotonic() - begun < 5
    assert events.failed() == [(EVENT, "it took longer than 1 s and was ended")]
    assert wait_for(lambda: not marked("an-event-that-hangs"), 5)


def test_what_still_waits_at_the_end_has_no_longer_than_one_event() -> None:
    begun = time.monotonic()
    with EventCommand(python("import time", "time.sleep(0.7)"), limit_seconds=1) as events:
        for step in range(20):
            events.send(EVENT | {"step": step})
    assert time.monotonic() - begun < 4
    given_up = [reason for _, reason in events.failed()]
    assert 15 < len(given_up) < 20 and given_up[-1] == "the training ended before its turn came"
