"""The heartbeat of a training: where it is, for whoever can read its folder."""

import json
import time
from pathlib import Path

import pytest

from hifitse.runs import heartbeat
from hifitse.runs.heartbeat import STALE_SECONDS, Heartbeat, Pulse, read_heartbeat
from hifitse.runs.run import Run
from hifitse.runs.summary import summarize
from tests.helpers import append_rows
from tests.processes import wait_for


def beat_at(step: int, seconds: float = 0.0) -> Heartbeat:
    place = {"host": "node7", "process": 77, "device": "cpu", "first_step": 0, "stop_at": 90, "total_steps": 90}
    return Heartbeat.model_validate({"time": seconds, "step": step, **place})


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run(tmp_path / "run")
    run.path.mkdir()
    return run


def test_it_is_replaced_again_and_again_and_removed_at_the_end(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "SECONDS", 0.02)
    latest = beat_at(1)
    with Pulse(run, lambda: latest):
        found = read_heartbeat(run)
        assert found and found.step == 1 and found.is_fresh
        latest = beat_at(2)
        assert wait_for(lambda: (found := read_heartbeat(run)) and found.step == 2, 10)
    assert list(run.path.iterdir()) == []


def test_a_disk_that_does_not_take_it_stops_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "SECONDS", 0.02)
    run.heartbeat_path.mkdir()
    with Pulse(run, lambda: beat_at(1)) as pulse:
        time.sleep(0.1)
        assert pulse.thread.is_alive()
    assert read_heartbeat(run) is None


def test_a_damaged_one_is_none(run: Run) -> None:
    run.heartbeat_path.write_text('{"step": 1')
    assert read_heartbeat(run) is None and summarize(run.path).beat is None


def test_a_fresh_one_is_a_training_elsewhere_and_a_stale_one_a_dead_one(run: Run) -> None:
    append_rows(run.events_path, {"kind": "started", "step": 0})
    for age, state in ((0.0, "training"), (2 * STALE_SECONDS, "failed")):
        run.heartbeat_path.write_text(json.dumps(beat_at(70, time.time() - age).model_dump()))
        summary = summarize(run.path)
        assert (summary.state, summary.step) == (state, 70)
