"""What only a real process shows: start-up time and imports, signals, exit codes, pipes."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import TINY

from hifitse.runs import Run

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
    for command in ("train", "resume", "validate", "smoke", "select-best", "extract"):
        assert command in shown.stdout


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_a_training_with_its_state_saved(tmp_path: Path, number: signal.Signals, code: int) -> None:
    run = Run(tmp_path / "run")
    settings = ("--set", "train.total_steps=100000", "--set", "train.validate_every=100000")
    arguments = [*HIFITSE, "train", "--config", str(TINY), "--run", str(run.path), *settings]
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 120
        while len(run.read_metrics()) < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == code
    assert "the state is saved" in said
    assert "Traceback" not in said
    checkpoint, skipped = run.load("last")
    assert not skipped
    assert checkpoint.header.step == run.read_metrics()[-1]["step"]


def test_stdout_carries_data_only(trained: Path) -> None:
    shown = subprocess.run(
        [*HIFITSE, "select-best", "--run", str(trained), "--json"], capture_output=True, text=True, check=True
    )
    assert json.loads(shown.stdout)["metric"] == "tp_si_sdr"
    listed = subprocess.run(
        [*HIFITSE, "select-best", "--run", str(trained)], capture_output=True, text=True, check=True
    )
    assert "<- best" in listed.stdout
    assert listed.stderr == ""


def test_a_usage_error_has_exit_code_2() -> None:
    assert subprocess.run([*HIFITSE, "tarin"], capture_output=True).returncode == 2
