"""Loader processes that die or are stuck cost a training some seconds, and nothing of what it computes."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hifitse.checkpoint.file import load_header
from hifitse.runs.checkpoint_ref import CheckpointRef
from hifitse.runs.records import Row, exact_metrics, read_events, read_metrics
from hifitse.runs.run import Run
from tests.helpers import TINY
from tests.processes import children, descendants, endless_training, wait_for

TIMEOUT_SECONDS = 8


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "run")


def failures(run: Run) -> list[Row]:
    return [event for event in read_events(run) if event.kind == "loader_failed"]


def stop_loaders(process: int) -> list[int]:
    stopped = descendants(process)
    for found in stopped:
        os.kill(found, signal.SIGSTOP)
    return stopped


def test_a_training_goes_on_after_dead_and_stuck_loaders_and_ends_in_order_while_it_waits(run: Run) -> None:
    settings = ("data.num_workers=2", f"data.timeout_seconds={TIMEOUT_SECONDS}")
    with endless_training(run, *settings) as process:
        ((server,), before) = children(process.pid), len(read_metrics(run))
        os.kill(children(server)[0], signal.SIGKILL)
        assert wait_for(lambda: len(failures(run)) == 1 and len(read_metrics(run)) > before + 5)
        assert not set(descendants(process.pid)) & {server}, "all of them are new"

        stopped, started = stop_loaders(process.pid), time.monotonic()
        assert wait_for(lambda: len(failures(run)) == 2)
        assert time.monotonic() - started < TIMEOUT_SECONDS + 20
        before = len(read_metrics(run))
        assert wait_for(lambda: len(read_metrics(run)) > before + 5)
        assert not set(descendants(process.pid)) & set(stopped)

        stop_loaders(process.pid)
        time.sleep(1)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=TIMEOUT_SECONDS + 20)
    assert process.returncode == 143
    step = read_metrics(run)[-1].step
    assert f"interrupted after step {step}; the state is saved" in said and "Traceback" not in said
    dead, stuck = failures(run)
    assert "died (SIGKILL); if memory ran out, lower data.num_workers" in dead.get("message")
    assert "in 8 s (data.timeout_seconds): it is stopped, or the storage" in stuck.get("message")
    assert {dead.step, stuck.step, step} <= set(run.checkpoint_steps()), "each time the state was saved"

    calm = Run(run.path.parent / "calm")
    arguments = ["train", "--config", str(TINY), "--run", str(calm.path), "--stop-at", str(step)]
    arguments += ["--set", "train.total_steps=90000", "--set", "train.validate_every=90000"]
    subprocess.run([sys.executable, "-m", "hifitse", *arguments], check=True, capture_output=True)
    assert exact_metrics(calm) == exact_metrics(run)
    digests = [load_header(r.checkpoint_path(step))[0].digests for r in (calm, run)]
    assert digests[0] == digests[1]


def test_loaders_that_fail_again_at_the_same_place_end_the_run_with_its_state_saved(run: Run) -> None:
    with endless_training(run, "data.num_workers=1") as process:
        while process.poll() is None:
            for found in descendants(process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(found, signal.SIGKILL)
            time.sleep(0.05)
        _, said = process.communicate()
    assert process.returncode == 1
    assert "error: a loader process died" in said and "Traceback" not in said
    assert CheckpointRef("last").load(run)[0].header.step == read_metrics(run)[-1].step
    assert [event.kind for event in read_events(run)][-2:] == ["loader_failed", "failed"]


def test_a_tiny_shared_memory_is_enough(run: Run) -> None:
    settings = ("--set", "data.num_workers=2", "--set", "audio.mixture_seconds=4", "--stop-at", "6")
    command = [sys.executable, "-m", "hifitse", "train", "--config", str(TINY), "--run", str(run.path), *settings]
    small = ["unshare", "-m", "bash", "-c", 'mount -t tmpfs -o size=200k tmpfs /dev/shm && exec "$@"', "-"]
    can_mount = subprocess.run([*small, "true"], capture_output=True).returncode == 0
    # Elsewhere the test of the loader shows that its processes map nothing of it.
    done = subprocess.run([*(small if can_mount else []), *command], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
