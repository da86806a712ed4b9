"""A save that fails costs no training: it is reported, tried again, and a run that it ends can be resumed."""

import os
import resource
import shutil
import signal
import time
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from hifitse.checkpoint.file import load_checkpoint, load_header, verify_checkpoint
from hifitse.evaluation.result import read_result
from hifitse.runs.records import Row, exact_metrics, read_events
from hifitse.runs.run import Run
from hifitse.training import step as stepping
from hifitse.training.saving import retry
from hifitse.training.saving.saver import Saver
from tests.helpers import TINY, Cli

Usage = namedtuple("Usage", "total used free")


class FullDisk:
    """The system refuses to let any file of this process grow: EFBIG stands in for ENOSPC."""

    says = "File too large"

    def begin(self, run: Run) -> None:
        self.limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, self.limits[1]))

    def end(self, run: Run) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self.limits)


class NearlyFullDisk:
    """There is room for a log, not for a checkpoint."""

    says = "the disk has 16 MB left"

    def begin(self, run: Run) -> None:
        self.usage = shutil.disk_usage
        shutil.disk_usage = lambda _: Usage(0, 0, 16_000_000)  # type: ignore[attr-defined]

    def end(self, run: Run) -> None:
        shutil.disk_usage = self.usage  # type: ignore[attr-defined]


class NoFolder:
    """The folder cannot be written, not even by root: a file is in its place."""

    says = "File exists: "

    def begin(self, run: Run) -> None:
        (run.path / "checkpoints").rename(run.path / "elsewhere")
        (run.path / "checkpoints").touch()

    def end(self, run: Run) -> None:
        (run.path / "checkpoints").unlink()
        (run.path / "elsewhere").rename(run.path / "checkpoints")


class ReadOnlyFolder:
    """The folder may not be written by this user."""

    says = "Permission denied"

    def begin(self, run: Run) -> None:
        (run.path / "checkpoints").chmod(0o555)

    def end(self, run: Run) -> None:
        (run.path / "checkpoints").chmod(0o755)


ALL = [FullDisk, NearlyFullDisk, NoFolder]
if os.geteuid() != 0:
    ALL.append(ReadOnlyFolder)


@pytest.fixture(params=ALL)
def trouble(request: pytest.FixtureRequest) -> Any:
    return request.param()


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "run")


class Period:
    """Lets a trouble last from the begin of one step to the end of another, once."""

    def __init__(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        self.run, self.monkeypatch, self.now = run, monkeypatch, None
        self.savers: list[Saver] = []
        enter = Saver.__enter__
        monkeypatch.setattr(Saver, "__enter__", lambda saver: self.savers.append(saver) or enter(saver))

    def set(self, trouble: Any, first: int, last: int, signal_number: int | None = None) -> None:
        original, begin = stepping.train_step, first

        def step(state: Any, *arguments: Any) -> stepping.StepResult:
            nonlocal begin
            if state.step + 1 == begin:
                begin = -1
                self._wait_for_attempt()
                self.now = trouble
                trouble.begin(self.run)
                if signal_number:
                    os.kill(os.getpid(), signal_number)
            if state.step == last:
                self._wait_for_attempt()
                self.end()
            return original(state, *arguments)

        self.monkeypatch.setattr(stepping, "train_step", step)

    def end(self) -> None:
        if self.now:
            self.now.end(self.run)
        self.now = None

    def _wait_for_attempt(self) -> None:
        while self.savers[-1].attempt and not self.savers[-1].attempt.done():
            time.sleep(0.001)


@pytest.fixture
def period(run: Run, monkeypatch: pytest.MonkeyPatch) -> Iterator[Period]:
    """Attempts follow each other at once."""
    monkeypatch.setattr(retry, "LONGEST_PAUSE", 0.0)
    monkeypatch.setattr(retry, "LAST_PAUSES", (0.0, 0.0, 0.0))
    period = Period(run, monkeypatch)
    yield period
    period.end()


def events(run: Run, kind: str) -> list[Row]:
    return [event for event in read_events(run) if event.kind == kind]


def assert_equal(run: Run, trained: Path) -> None:
    """Everything of a run is as in the one that had no trouble, to the bit, and nothing else lies about."""
    other = Run(trained)
    assert run.checkpoint_steps() == other.checkpoint_steps()
    for step in run.checkpoint_steps():
        ours, theirs = (load_header(r.checkpoint_path(step)) for r in (run, other))
        assert ours[0].digests == theirs[0].digests
    assert exact_metrics(run) == exact_metrics(other)
    assert [read_result(run, step) for step in (4, 8, 12)] == [read_result(other, step) for step in (4, 8, 12)]
    assert not list(run.path.rglob(".*.tmp"))


def test_the_training_goes_on_and_the_checkpoint_comes_when_the_trouble_is_over(
    cli: Cli, run: Run, trained: Path, trouble: Any, period: Period
) -> None:
    period.set(trouble, first=5, last=6)
    outcome = cli("train", "--config", TINY, "--run", run.path)
    assert outcome.code == 0, outcome.err
    assert "the checkpoint of step 6 is not saved (attempt 1; the run ends when this has lasted 120 min" in outcome.err
    assert str(run.checkpoint_path(6)) in outcome.err or str(run.metrics_path) in outcome.err
    assert trouble.says in outcome.err and "free the disk" in outcome.err
    shown = EventAccumulator(str(run.path / "tensorboard")).Reload().Scalars("train/loss")
    assert shown[-1].step == 12, "TensorBoard can read on behind the gap"
    assert events(run, "save_failed") and [event.step for event in events(run, "saved")] == [6]
    assert_equal(run, trained)


def test_a_save_that_fails_for_good_ends_the_run_and_a_resume_equals_one_without_trouble(
    cli: Cli, run: Run, trained: Path, trouble: Any, period: Period
) -> None:
    period.set(trouble, first=5, last=99)
    outcome = cli("train", "--config", TINY, "--run", run.path, "--set", "train.save_minutes=0")
    period.end()
    assert outcome.code == 1, outcome.err
    assert "could not be saved, the run ends" in outcome.err
    if not isinstance(trouble, NoFolder):
        assert f"the last valid checkpoint, step 4: hifitse resume --run {run.path}" in outcome.err
    assert run.checkpoint_steps() == [2, 4]
    assert cli("resume", "--run", run.path).code == 0
    assert_equal(run, trained)


@pytest.mark.parametrize("signal_number", [None, signal.SIGTERM], ids=["end", "signal"])
def test_at_the_end_a_failing_save_is_tried_again_and_then_named(
    cli: Cli, run: Run, trained: Path, period: Period, signal_number: int | None
) -> None:
    period.set(FullDisk(), first=11, last=99, signal_number=signal_number)
    outcome = cli("train", "--config", TINY, "--run", run.path)
    period.end()
    assert outcome.code == 1
    assert "(attempt 4; " in outcome.err and "the state is saved" not in outcome.err
    assert "the last valid checkpoint, step 10" in outcome.err
    assert cli("resume", "--run", run.path).code == 0
    assert_equal(run, trained)


class NoValidationFolder:
    """Validation results cannot be written, checkpoints can: a file is in the place of the folder."""

    def begin(self, run: Run) -> None:
        (run.path / "validation").rename(run.path / "elsewhere")
        (run.path / "validation").touch()

    def end(self, run: Run) -> None:
        (run.path / "validation").unlink()
        (run.path / "elsewhere").rename(run.path / "validation")


def by_step(run: Run) -> list[dict[str, Any]]:
    return sorted(exact_metrics(run), key=lambda row: (row["step"], row["kind"] == "exam"))


@pytest.mark.parametrize("trouble", [FullDisk, NoValidationFolder])
def test_a_validation_that_cannot_be_written_is_tried_again_until_it_is_there_with_its_row(
    cli: Cli, run: Run, trained: Path, period: Period, trouble: Any
) -> None:
    period.set(trouble(), first=7, last=10)
    outcome = cli("train", "--config", TINY, "--run", run.path)
    assert outcome.code == 0, outcome.err
    assert "the validation of step 8 is not saved (attempt 1; the run ends when" in outcome.err
    assert "the validation of step 8 is saved" in outcome.err
    assert run.validation_steps() == [4, 8, 12]
    assert read_result(run, 8) == read_result(Run(trained), 8)
    assert by_step(run) == by_step(Run(trained))


@pytest.mark.parametrize("minutes", [0, 120], ids=["in mid-training", "at the end"])
def test_a_validation_that_can_never_be_written_ends_the_run_with_the_command_that_repeats_it(
    cli: Cli, run: Run, trained: Path, period: Period, minutes: int
) -> None:
    period.set(NoValidationFolder(), first=7, last=99)
    outcome = cli("train", "--config", TINY, "--run", run.path, "--set", f"train.save_minutes={minutes}")
    period.end()
    assert outcome.code == 1
    assert "the validation of step 8 could not be saved, the run ends" in outcome.err
    assert f"then repeat it: hifitse validate --run {run.path} --from 8" in outcome.err
    assert run.checkpoint_steps()[-1] == (12 if minutes else 9), "the steps that were done are saved"
    assert cli("validate", "--run", run.path, "--from", 8).code == 0
    assert read_result(run, 8) == read_result(Run(trained), 8)
    assert cli("resume", "--run", run.path).code == 0
    assert read_result(run, 12) == read_result(Run(trained), 12)


def test_guards_judge_a_validation_that_is_not_written_yet(cli: Cli, run: Run, period: Period) -> None:
    period.set(FullDisk(), first=7, last=99)
    guard = "health.guards=[{name: loud, metric: rms_ratio, above: 0.01, action: stop}]"
    outcome = cli("train", "--config", TINY, "--run", run.path, "--set", guard)
    period.end()
    assert outcome.code == 1 and "step 8 is above 0.01, after" in outcome.err
    assert "(guard loud, 2 of 2 validations)" in outcome.err and "step 9/12" not in outcome.err


def test_pauses_between_saves_are_times_however_often_a_save_is_due(
    cli: Cli, run: Run, period: Period, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "LONGEST_PAUSE", 600.0)
    period.set(FullDisk(), first=5, last=11)
    outcome = cli("train", "--config", TINY, "--run", run.path, "--set", "train.checkpoint_every=1")
    assert outcome.code == 0, outcome.err
    assert len([e for e in events(run, "save_failed") if "attempt" in e.get("message")]) <= 2, "within a second or two"
    assert run.checkpoint_steps()[-1] == 12


def test_what_a_killed_save_has_left_is_removed_and_noted(cli: Cli, trained: Path) -> None:
    left = [trained / "checkpoints" / ".step_00000012.safetensors.abc123.tmp", trained / ".config.yaml.abc123.tmp"]
    for path in left:
        path.write_bytes(b"half")
    assert cli("validate", "--run", trained, "--from", 8).code == 0
    assert all(path.exists() for path in left), "only the process that holds the run removes anything"
    outcome = cli("resume", "--run", trained, "--from", 10)
    assert outcome.code == 0
    assert not any(path.exists() for path in left)
    (cleaned,) = events(Run(trained), "cleaned")
    assert all(path.name in cleaned.get("message") for path in left)
    assert ".tmp" not in outcome.err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_the_middle_of_a_save_waits_for_it(
    cli: Cli, run: Run, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    original, sent = verify_checkpoint, []

    def read_back(path: Path) -> None:
        if path.name.startswith(".step_00000006.safetensors.") and not sent:
            sent.append(number)
            os.kill(os.getpid(), number)
            time.sleep(0.3)
        original(path)

    monkeypatch.setattr("hifitse.checkpoint.file.verify_checkpoint", read_back)
    outcome = cli("train", "--config", TINY, "--run", run.path)
    assert sent and outcome.code == (130 if number == signal.SIGINT else 143)
    assert "the state is saved" in outcome.err
    last = run.checkpoint_steps()[-1]
    assert last >= 6 and load_checkpoint(run.checkpoint_path(last)).header.step == last
    assert run.checkpoint_steps()[:3] == [2, 4, 6]
    assert cli("resume", "--run", run.path).code == 0
    assert run.checkpoint_steps()[-1] == 12
