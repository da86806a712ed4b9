"""Kills trainings with SIGKILL and resumes them, over and over; whatever is left must equal an undisturbed run.

    python -m tests.cli.kills FOLDER --kills 200 [--seed 0]

Each attempt is a process of its own, forked from this one, which has imported everything but computed nothing. Most
are killed within a save: some milliseconds after its temporary file appears.
"""

import argparse
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path

# What an attempt would import, imported once; torch._dynamo is what an optimizer of torch imports.
import torch._dynamo  # noqa: F401

import hifitse.commands.resume
import hifitse.commands.train
import hifitse.report.live
import hifitse.training.loop  # noqa: F401
from hifitse.checkpoint.file import load_header
from hifitse.cli import main
from hifitse.evaluation.result import read_result
from hifitse.runs.checkpoint_ref import CheckpointRef
from hifitse.runs.records import read_events, read_metrics
from hifitse.runs.run import Run
from tests.helpers import TINY

EVERY = 2
"""Steps between checkpoints."""
SETTINGS = ("--set", "train.total_steps=24", "--set", f"train.checkpoint_every={EVERY}")
USUAL_SAVE = 0.004
"""Seconds. Saves are killed about this long after their start, at moments drawn from an exponential."""


class Torture:
    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.rng = folder, random.Random(seed)
        self.seen: Counter[str] = Counter()
        self.reference = Run(folder / "reference")
        started = time.monotonic()
        assert _wait(self._start(self.reference)) == 0, "the undisturbed run ends well"
        self.seconds = time.monotonic() - started
        steps = self.reference.checkpoint_steps()
        self.digests = {step: load_header(self.reference.checkpoint_path(step))[1] for step in steps}
        self.rows = read_metrics(self.reference)

    def run(self, num_kills: int) -> dict[str, int]:
        """Kill that often, then let the last run come to its end; return what was met how often."""
        while self.seen["kills"] < num_kills:
            self.seen["runs"] += 1
            run = Run(self.folder / f"run{self.seen['runs']:03d}")
            while not self._disturb(run, kill=self.seen["kills"] < num_kills):
                self._check_after_kill(run)
            self._check_end(run)
        return dict(self.seen)

    def _disturb(self, run: Run, kill: bool) -> bool:
        """Start or resume a run and kill it at a random moment; return whether it came to its end before that."""
        process = self._start(run)
        if not kill:
            code = _wait(process)
        elif self.rng.random() < 0.3:
            code = _wait(process, self.rng.uniform(0, self.seconds))
        else:
            self._wait_for_save(run, process, count=self.rng.randint(1, 4))
            code = _wait(process, self.rng.expovariate(1 / USUAL_SAVE))
        if code is not None:
            assert code == 0, f"a resume failed with exit code {code}, see {self.folder}/log"
            return True
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        self.seen["kills"] += 1
        return False

    def _start(self, run: Run) -> int:
        command = ["resume"] if run.exists() else ["train", "--config", str(TINY), *SETTINGS]
        process = os.fork()
        if process:
            return process
        log = os.open(self.folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.argv = ["hifitse", *command, "--run", str(run.path)]
        try:
            main()
        except SystemExit as ended:
            os._exit(ended.code if isinstance(ended.code, int) else 0)
        finally:
            os._exit(99)

    def _wait_for_save(self, run: Run, process: int, count: int) -> None:
        """Wait for the temporary file of a save, of the next but ``count - 1``, or for the end of the process."""
        here = True
        while count and not _has_ended(process):
            before, here = here, bool(_saves_begun(run))
            count -= here and not before

    def _check_after_kill(self, run: Run) -> None:
        """The newest checkpoint is valid, it is the right one, and at most the save in flight is lost."""
        if (run.path / "checkpoints").exists() and _saves_begun(run):
            self.seen["kills in a save"] += 1
        rows, newest = read_metrics(run), 0
        if run.exists():
            checkpoint, skipped = CheckpointRef("last").load(run)
            assert not skipped, f"a kill leaves no damaged checkpoint: {skipped}"
            newest = checkpoint.header.step
            for step in run.checkpoint_steps():
                assert load_header(run.checkpoint_path(step))[1] == self.digests[step], f"step {step} is a wrong one"
        else:
            self.seen["kills before the first checkpoint"] += 1
        done = max((row.step for row in rows), default=0)
        due = done - done % EVERY
        self.seen[f"kills with {'the newest' if newest >= due else 'the last but one'} checkpoint in place"] += 1
        # A save waits for the one before; that of the step `done` may not have begun.
        assert newest >= due - EVERY * (1 if done > due else 2), f"step {done} was reached, {newest} is the newest"
        kept = [row for row in rows if row.step <= newest]
        expected = [row for row in self.rows if row.step <= newest]
        assert kept == expected or kept == expected[:-1], (
            "no row of a saved step is missing, but of a validation cut short"
        )

    def _check_end(self, run: Run) -> None:
        """All of a run that was killed equals the undisturbed one, to the bit, and nothing else lies about."""
        digests = {step: load_header(run.checkpoint_path(step))[1] for step in run.checkpoint_steps()}
        assert digests == self.digests
        assert CheckpointRef("last").load(run)[1] == []
        assert read_metrics(run) == self.rows
        assert run.validation_steps() == self.reference.validation_steps()
        assert all(read_result(run, step) == read_result(self.reference, step) for step in run.validation_steps())
        assert not list(run.path.rglob(".*.tmp"))
        self.seen["leftovers removed"] += sum(event.kind == "cleaned" for event in read_events(run))


def _saves_begun(run: Run) -> list[str]:
    try:
        return [name for name in os.listdir(run.path / "checkpoints") if name.endswith(".tmp")]
    except FileNotFoundError:
        return []


def _has_ended(process: int) -> bool:
    return os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _wait(process: int, seconds: float = 600.0) -> int | None:
    """Return the exit code of a process, or None if it still runs after that time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if _has_ended(process):
            return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        time.sleep(0.0002)
    return None


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(json.dumps(Torture(options.folder, options.seed).run(options.kills)))
