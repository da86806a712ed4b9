"""A long training takes no more of the machine at its end than at its beginning."""

import os
import statistics
import subprocess
import time
from pathlib import Path

import pytest

from hifitse.runs.records import read_metrics
from hifitse.runs.run import Run
from tests.processes import descendants, endless_training, wait_for

STEPS = 3000
GROWTH = {"MiB": 1.03, "open files": 1.0, "threads": 1.0, "processes": 1.0, "files in /dev/shm": 1.0}
"""How much there may be in the last third of the steps, of what there was in the second one."""


def usage(process: int) -> dict[str, float]:
    """Return what a process and all below it take of the machine."""
    family = (process, *descendants(process))
    pages = sum(int(Path(f"/proc/{member}/statm").read_text().split()[1]) for member in family)
    return {
        "MiB": pages * os.sysconf("SC_PAGE_SIZE") / 2**20,
        "open files": sum(len(os.listdir(f"/proc/{member}/fd")) for member in family),
        "threads": sum(len(os.listdir(f"/proc/{member}/task")) for member in family),
        "processes": len(family),
        "files in /dev/shm": len(os.listdir("/dev/shm")),
    }


@pytest.mark.torture
def test_three_thousand_steps_with_validations_are_flat(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    settings = [f"train.total_steps={STEPS}", "train.validate_every=60", "train.checkpoint_every=60"]
    settings += ["data.num_workers=2", "train.log_every=10", "retention.keep_last=2"]
    found: dict[int, dict[str, float]] = {}

    with endless_training(run, *settings, stderr=subprocess.DEVNULL) as process:

        def is_over() -> bool:
            time.sleep(0.5)
            step = max(row.step for row in read_metrics(run))
            # Between a validation and the next: its own loader processes are gone.
            if 20 <= step % 60 <= 50 and step not in found and process.poll() is None:
                found[step] = usage(process.pid)
            return process.poll() is not None

        assert wait_for(is_over, 1800)
        assert process.returncode == 0
    assert len(run.validation_steps()) == STEPS // 60
    for name, growth in GROWTH.items():
        thirds = [
            statistics.median([taken[name] for step, taken in found.items() if first < step <= first + STEPS // 3])
            for first in range(0, STEPS, STEPS // 3)
        ]
        print(f"{name} in the thirds of the steps: {', '.join(f'{value:g}' for value in thirds)}")
        assert thirds[2] <= growth * thirds[1], name
