"""A training that is ended at any moment loses nothing that was saved, and goes on to the very same end."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def torture(folder: Path, kills: int, what: str) -> dict[str, int]:
    command = [sys.executable, "-m", "tests.cli.kills", str(folder), "--kills", str(kills), "--what", what]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    report: dict[str, int] = json.loads(result.stdout)
    print(what, report)
    return report


def test_a_killed_training_ends_like_an_undisturbed_one(tmp_path: Path) -> None:
    assert torture(tmp_path, 8, "trainer")["kills"] == 8


# With those of tests/attack/test_signals.py they are more than two hundred.


@pytest.mark.attack
def test_whatever_ends_a_training_changes_nothing(tmp_path: Path) -> None:
    report = torture(tmp_path, 100, "trainer")
    assert report["kills"] == 100
    assert report["kills in a save"] >= 5, "many of them are meant to hit a save"


@pytest.mark.attack
def test_whatever_ends_a_loader_process_changes_nothing(tmp_path: Path) -> None:
    report = torture(tmp_path, 14, "loader")
    assert report["kills"] == 14
    assert report["loaders restarted"] >= 5


@pytest.mark.attack
def test_whatever_ends_a_rank_or_its_launcher_changes_nothing(tmp_path: Path) -> None:
    assert torture(tmp_path, 14, "ranks")["kills"] == 14


@pytest.mark.torture
def test_a_thousand_kills_change_nothing(tmp_path: Path) -> None:
    assert torture(tmp_path, 1000, "trainer")["kills"] == 1000
