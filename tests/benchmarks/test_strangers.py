"""Voices never heard: runs end or are stopped, which both is a result, and none is trained twice."""

import sys
from pathlib import Path

import pytest

from benchmarks import strangers
from hifitse.runs.run import Run
from tests.helpers import SPEECH, TINY


def test_every_arm_has_its_line_however_it_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stopping = "health.guards=[{name: never, metric: rms_ratio, above: 0, patience: 1}]"
    pairs = "mixing.num_interferers=[1, 1]"
    arms = {"a": (str(TINY), (pairs, "health.guards=[]")), "b": (str(TINY), (pairs, stopping))}
    monkeypatch.setattr(strangers, "ARMS", arms)
    monkeypatch.setattr(sys, "argv", ["strangers", "--speech", str(SPEECH), "--seeds", "1", "--out", str(tmp_path)])
    strangers.main()
    once = capsys.readouterr().out
    first, second = once.splitlines()[2:]
    assert first.startswith("| a |") and first.endswith("| - |")
    assert second.startswith("| b |") and "never at" in second
    trained = {path: path.stat().st_mtime_ns for path in Run(tmp_path / "a" / "seed0").checkpoints_path.iterdir()}
    strangers.main()
    assert capsys.readouterr().out == once
    assert {path: path.stat().st_mtime_ns for path in trained} == trained
