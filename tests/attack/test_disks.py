"""A disk that is really full: the run ends with what is saved, and goes on to the very same end when there is room."""

import subprocess
import sys
from pathlib import Path

import pytest

from hifitse.runs.records import exact_metrics
from hifitse.runs.run import Run
from tests.helpers import TINY

# 16 MB are kept free, so that some checkpoints fit, and then no more.
SCRIPT = """
mount -t tmpfs -o size=17m tmpfs "$0" || exit 9
"$@" train --config "$CONFIG" --run "$0/run" --set train.checkpoint_every=1 --set train.save_minutes=0.02
[ $? = 1 ] || exit 8
mount -o remount,size=100m "$0"
"$@" resume --run "$0/run" || exit 7
cat "$0/run/metrics.jsonl"
"""


@pytest.mark.attack
def test_a_run_on_a_full_disk_goes_on_when_there_is_room(trained: Path, tmp_path: Path) -> None:
    if subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", tmp_path], capture_output=True).returncode:
        pytest.skip("this machine allows no mounts")
    command = ["unshare", "-m", "bash", "-c", SCRIPT, str(tmp_path), sys.executable, "-m", "hifitse"]
    done = subprocess.run(
        command, env={"CONFIG": str(TINY), "XDG_CACHE_HOME": str(trained)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "MB, the disk has" in done.stderr and "Traceback" not in done.stderr
    (tmp_path / "metrics.jsonl").write_text(done.stdout)
    assert exact_metrics(Run(tmp_path)) == exact_metrics(Run(trained))
