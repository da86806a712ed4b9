"""A trial belongs to one process, on whatever machine, until that is gone."""

import os
from pathlib import Path

import pytest

from hifitse.runs.heartbeat import STALE_SECONDS
from hifitse.sweeping.claims import Claims


def test_a_trial_is_held_as_long_as_its_process_says_so(tmp_path: Path) -> None:
    ours, theirs = Claims(tmp_path), Claims(tmp_path)
    assert not ours.is_held(3)
    with ours.hold(3):
        assert theirs.is_held(3) and not theirs.is_held(4)
        with pytest.raises(BlockingIOError), theirs.hold(3):
            pass
    assert not theirs.is_held(3) and not list(tmp_path.iterdir())


def test_a_killed_process_holds_none_here_and_none_for_long_elsewhere(tmp_path: Path) -> None:
    left = tmp_path / "trial_003"
    left.write_text(os.uname().nodename)
    assert not Claims(tmp_path).is_held(3), "its lock is gone"
    left.write_text("another")
    assert Claims(tmp_path).is_held(3), "its lock may not be seen here"
    old = left.stat().st_mtime - STALE_SECONDS - 1
    os.utime(left, (old, old))
    assert not Claims(tmp_path).is_held(3)
    with Claims(tmp_path).hold(3):
        assert left.read_text() == os.uname().nodename


def test_a_process_that_goes_on_is_seen_elsewhere(tmp_path: Path) -> None:
    claims = Claims(tmp_path)
    claims.beat()
    with claims.hold(3):
        os.utime(tmp_path / "trial_003", (0, 0))
        claims.beat()
        assert (tmp_path / "trial_003").stat().st_mtime > 1e9
