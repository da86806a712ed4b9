"""A training that is killed at any moment loses nothing that was saved, and goes on to the very same end."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def torture(folder: Path, kills: int) -> dict[str, int]:
    command = [sys.executable, "-m", "tests.cli.kills", str(folder), "--kills", str(kills)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    report: dict[str, int] = json.loads(result.stdout)
    print(report)
    return report


def test_a_killed_training_ends_like_an_undisturbed_one(tmp_path: Path) -> None:
    assert torture(tmp_path, kills=8)["kills"] == 8


@pytest.mark.torture
def test_two_hundred_kills_change_nothing(tmp_path: Path) -> None:
    report = torture(tmp_path, kills=200)
    assert report["kills"] == 200
    assert report["kills in a save"] >= 50, "most kills are meant to hit a save"
