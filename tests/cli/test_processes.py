"""What only a real process shows: start-up time and imports, signals, exit codes, pipes."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hifitse.runs.checkpoint_ref import CheckpointRef
from hifitse.runs.records import read_metrics
from hifitse.runs.run import Run
from tests.helpers import TINY
from tests.processes import wait_for

HIFITSE = (sys.executable, "-m", "hifitse")


def test_help_imports_nothing_heavy() -> None:
    code = """
import sys
sys.argv = ["hifitse", "--help"]
from hifitse.cli import main
try:
    main()
except SystemExit:
    pass
print([name for name in ("torch", "torchaudio", "scipy", "numpy", "h5py", "tensorboard") if name in sys.modules])
"""
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines()[-1] == "[]"
    for command in ("train", "resume", "validate", "smoke", "select-best", "extract", "export", "import"):
        assert command in shown.stdout


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_a_training_with_its_state_saved(tmp_path: Path, number: signal.Signals, code: int) -> None:
    run = Run(tmp_path / "run")
    settings = ("--set", "train.total_steps=100000", "--set", "train.validate_every=100000")
    arguments = [*HIFITSE, "train", "--config", str(TINY), "--run", str(run.path), *settings]
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 120
        while len(read_metrics(run)) < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == code
    assert "the state is saved" in said
    assert "Traceback" not in said
    checkpoint, skipped = CheckpointRef("last").load(run)
    assert not skipped
    assert checkpoint.header.step == read_metrics(run)[-1].step


@contextmanager
def started(run: Run, *settings: str) -> Iterator[subprocess.Popen[str]]:
    """A training in a process of its own, which does not outlive the test."""
    arguments = [*HIFITSE, "train", "--config", str(TINY), "--run", str(run.path)]
    arguments += [part for setting in settings for part in ("--set", setting)]
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_signal_in_a_validation_ends_it_and_the_resume_repeats_it(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    settings = ("validation.num_scenes=4000", "validation.batch_size=1", "train.validate_every=2")
    with started(run, *settings) as process:
        deadline = time.monotonic() + 120
        while not run.checkpoint_steps() and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGUSR1)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 143
    assert "in the validation of step 2; the state is saved" in said
    assert run.checkpoint_steps() == [2] and run.validation_steps() == []
    smaller = ("--set", "validation.num_scenes=8", "--stop-at", "4")
    subprocess.run([*HIFITSE, "resume", "--run", str(run.path), *smaller], check=True, capture_output=True)
    assert run.validation_steps() == [2, 4]


def test_a_signal_while_the_data_is_being_prepared_ends_in_order(tmp_path: Path, cache_home: Path) -> None:
    run = Run(tmp_path / "run")
    with started(run, "data.simulated_rooms={num_rooms: 10000}", "data.rir=[]") as process:
        assert wait_for(lambda: list(cache_home.rglob("headers-*.json")))
        time.sleep(1)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=30)
    assert (process.returncode, said.splitlines()[-1]) == (143, "interrupted")
    assert not run.exists() and not list(cache_home.rglob("room_*.wav"))


def test_a_second_trainer_hears_who_trains(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    with started(run, "train.total_steps=100000", "train.validate_every=100000") as first:
        deadline = time.monotonic() + 120
        while not run.checkpoint_steps() and time.monotonic() < deadline:
            time.sleep(0.05)
        second = subprocess.run([*HIFITSE, "resume", "--run", str(run.path)], capture_output=True, text=True)
        first.send_signal(signal.SIGTERM)
        first.communicate(timeout=60)
    assert first.returncode == 143
    assert second.returncode == 2
    assert f"process {first.pid} " in second.stderr and "is training this run" in second.stderr


def test_stdout_carries_data_only(trained: Path) -> None:
    shown = subprocess.run(
        [*HIFITSE, "select-best", "--run", str(trained), "--json"], capture_output=True, text=True, check=True
    )
    assert json.loads(shown.stdout)["metric"] == "tp_si_sdr"
    listed = subprocess.run(
        [*HIFITSE, "select-best", "--run", str(trained)], capture_output=True, text=True, check=True
    )
    (best,) = re.findall(r"^\* +(\d+) ", listed.stdout, re.MULTILINE)
    assert json.loads(shown.stdout)["best"]["step"] == int(best)
    assert f"* best by tp_si_sdr: step {best}, " in listed.stdout
    assert listed.stderr == ""


def test_a_usage_error_has_exit_code_2() -> None:
    assert subprocess.run([*HIFITSE, "tarin"], capture_output=True).returncode == 2
