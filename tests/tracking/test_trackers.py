"""A tool that fails, is slow or is missing costs a training nothing but a message."""

import importlib.util
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from hifitse.checkpoint.file import load_header
from hifitse.runs.records import exact_metrics, read_events
from hifitse.runs.run import Run
from hifitse.tracking import follower, trackers
from hifitse.tracking.tools.tensorboard import TensorBoard
from tests.helpers import TINY, Cli
from tests.tracking.holdings import in_place, in_tensorboard


def assert_equal(run: Run, trained: Path) -> None:
    """The training was as one that is reported to nobody."""
    ours, theirs = (load_header(each.checkpoint_path(12))[0].digests for each in (run, Run(trained)))
    assert ours == theirs and exact_metrics(run) == exact_metrics(Run(trained))


def troubles(run: Run) -> list[str]:
    return [event.get("message") for event in read_events(run) if event.kind == "tracking_failed"]


def test_one_that_fails_is_told_once_and_a_resume_sends_what_it_lacks(
    cli: Cli, run: Run, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise ConnectionError("no route to host\nand more")

    monkeypatch.setattr(follower, "RETRY_SECONDS", 0.01)
    with monkeypatch.context() as patch:
        patch.setattr(TensorBoard, "log", fail)
        outcome = cli("train", "--config", TINY, "--run", run.path, "--stop-at", 8)
    assert outcome.code == 0
    assert troubles(run) == ["tracking: tensorboard: no route to host; it is tried again"]
    assert outcome.err.count("warning: tracking: tensorboard: no route to host") == 1
    assert cli("resume", "--run", run.path).code == 0
    assert_equal(run, trained)
    assert in_tensorboard(run.path / "tensorboard") == in_place(run)


def test_one_that_fails_for_a_while_has_everything_in_the_end(
    cli: Cli, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, calls = TensorBoard.log, []

    def fail_at_first(self: TensorBoard, rows: Any) -> None:
        calls.append(len(rows))
        log(self, rows)
        if len(calls) < 4:
            raise ConnectionError("lost the answer: the rows are there")

    monkeypatch.setattr(follower, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(follower, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(TensorBoard, "log", fail_at_first)
    assert cli("train", "--config", TINY, "--run", run.path).code == 0
    assert len(calls) > 4 and len(troubles(run)) == 1
    assert in_tensorboard(run.path / "tensorboard") == in_place(run)


def test_one_that_hangs_is_given_up_at_the_end(
    cli: Cli, run: Run, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()
    monkeypatch.setattr(trackers, "END_SECONDS", 0.2)
    with monkeypatch.context() as patch:
        patch.setattr(TensorBoard, "log", lambda self, rows: released.wait(60))
        started = time.monotonic()
        assert cli("train", "--config", TINY, "--run", run.path).code == 0
        assert time.monotonic() - started < 30
    released.set()
    assert troubles(run) == ["tracking: tensorboard: is slow; the next training of the run sends the rest"]
    assert_equal(run, trained)


@pytest.mark.parametrize("kind", ["trackio", "wandb", "mlflow"])
def test_one_that_is_not_installed_is_an_error_that_names_the_extra(
    cli: Cli, run: Run, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == kind else find(name, *more))
    outcome = cli("train", "--config", TINY, "--run", run.path, "--set", f"tracking={{kind: {kind}}}")
    assert outcome.code == 2
    assert f"tracking: {kind} is not installed; pip install 'hifitse[{kind}]'" in outcome.err
    assert not run.path.exists()


def test_two_of_a_kind_are_refused(cli: Cli, run: Run) -> None:
    twice = "tracking=[{kind: tensorboard}, {kind: tensorboard}]"
    outcome = cli("train", "--config", TINY, "--run", run.path, "--set", twice)
    assert outcome.code == 2 and "kinds must differ, not" in outcome.err
