"""Ends trainings in all ways and resumes them, over and over; whatever is left must equal an undisturbed run.

    python -m tests.cli.kills FOLDER --kills 200 [--what trainer|loader|ranks] [--seed 0]

What gets the signal is the one process of a training, one of its loader processes, or its launcher or one of its two
ranks. Most signals are SIGKILL, most of them come within a save: some milliseconds after its temporary file appears.
Each attempt is a process of its own, forked from this one, which has imported everything but computed nothing.
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
import hifitse.report.live.display
import hifitse.training.loop  # noqa: F401
from hifitse.checkpoint.file import load_header
from hifitse.cli import main
from hifitse.distributed.signals import SignalReceived, end_in_order
from hifitse.evaluation.result import read_result
from hifitse.runs.checkpoint_ref import CheckpointRef
from hifitse.runs.records import exact_metrics, read_events, read_metrics
from hifitse.runs.run import Run
from tests.helpers import TINY
from tests.processes import children, descendants, is_alive, wait_for

EVERY = 2
"""Steps between checkpoints."""
ARGUMENTS = {
    "trainer": (),
    "loader": ("--set", "data.num_workers=2"),
    "ranks": ("--ranks", "2"),
}
SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2, signal.SIGUSR1, signal.SIGINT)
"""What people, terminals and batch systems send."""
ENDS = {0, 130, 143}
USUAL_SAVE = 0.004
"""Seconds. Saves are killed about this long after their start, at moments drawn from an exponential."""
ORPHAN_SECONDS = 10.0


class Torture:
    def __init__(self, folder: Path, what: str, seed: int) -> None:
        self.folder, self.what, self.rng = folder, what, random.Random(seed)
        self.seen: Counter[str] = Counter()
        self.reference = Run(folder / "reference")
        started = time.monotonic()
        assert _wait(self._start(self.reference, every=1)) == 0, "the undisturbed run ends well"
        self.seconds = time.monotonic() - started
        self.tensors = {step: _tensors(self.reference, step) for step in self.reference.checkpoint_steps()}
        self.rows = exact_metrics(self.reference)

    def run(self, num_kills: int) -> dict[str, int]:
        """Send that many signals, each time to a run that goes on, and let the last one come to its end.

        Returns:
            What was met how often.
        """
        while self.seen["kills"] < num_kills:
            self.seen["runs"] += 1
            run = Run(self.folder / f"run{self.seen['runs']:03d}")
            while not self._disturb(run, disturb=self.seen["kills"] < num_kills):
                self._check_after_kill(run)
            self._check_end(run)
        said = (self.folder / "log").read_text()
        assert "Traceback" not in said, said
        return dict(self.seen)

    def _disturb(self, run: Run, disturb: bool) -> bool:
        """Start or resume a run and send a signal at a random moment; return whether it came to its end."""
        process = self._start(run, EVERY)
        if not disturb:
            code = _wait(process)
            assert code == 0, f"a resume failed with exit code {code}, see {self.folder}/log"
            return True
        if self.what == "loader":
            wait_for(lambda: _has_ended(process) or len(descendants(process)) == 3)
            code = _wait(process, self.rng.expovariate(1 / 0.2))
        elif self.rng.random() < 0.3:
            code = _wait(process, self.rng.uniform(0, self.seconds))
        else:
            self._wait_for_save(run, process, count=self.rng.randint(1, 4))
            code = _wait(process, self.rng.expovariate(1 / USUAL_SAVE))
        if code is None:
            code = self._send(run, process)
        assert code in ENDS | {1, -signal.SIGKILL}, f"exit code {code}, see {self.folder}/log"
        return code == 0

    def _send(self, run: Run, process: int) -> int:
        """Send a signal to a process that runs, or to one below it, and return the exit code."""
        number = self.rng.choice(SIGNALS) if self.rng.random() < 0.4 else signal.SIGKILL
        victim = process
        if self.what == "loader":
            victim = self.rng.choice(descendants(process) or [process])
        elif self.what == "ranks":
            victim = self.rng.choice([process, *children(process)])
        below = descendants(process)
        try:
            os.kill(victim, number)
        except ProcessLookupError:
            # It has ended meanwhile.
            victim = 0
        code = _wait(process)
        assert code is not None, f"{number.name} to {victim}: it hangs, see {self.folder}/log"
        assert wait_for(lambda: not any(map(is_alive, below)), ORPHAN_SECONDS), "nothing is left of it"
        self.seen["kills"] += victim > 0
        self.seen[f"{number.name}{' to one below' if victim != process else ''}"] += 1
        if victim == process:
            expected = {0, -9} if number == signal.SIGKILL else ENDS
        else:
            # A training goes on without a loader, but not without a rank.
            expected = {0} if self.what == "loader" else ENDS | {1}
        assert code in expected, f"{number.name}: exit code {code}, see {self.folder}/log"
        has_begun = any(event.kind in ("started", "resumed") for event in read_events(run)[self.num_events :])
        if code in (130, 143) and has_begun and (rows := read_metrics(run)):
            assert run.checkpoint_steps()[-1] == rows[-1].step, f"{number.name} costs no step"
        return code

    def _start(self, run: Run, every: int) -> int:
        settings = ("--set", "train.total_steps=24", "--set", f"train.checkpoint_every={every}")
        command = ["resume"] if run.exists() else ["train", "--config", str(TINY), *settings]
        self.num_events = len(read_events(run))
        is_ready, ready = os.pipe()
        process = os.fork()
        if process == 0:
            self._train([*command, "--run", str(run.path), *ARGUMENTS[self.what]], ready)
        os.read(is_ready, 1)
        os.close(is_ready)
        os.close(ready)
        return process

    def _train(self, command: list[str], ready: int) -> None:
        """Be the training."""
        log = os.open(self.folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.argv = ["hifitse", *command]
        try:
            end_in_order()
            os.write(ready, b".")
            main()
        except SystemExit as ended:
            os._exit(ended.code if isinstance(ended.code, int) else 0)
        except SignalReceived as received:
            os._exit(received.exit_code)
        finally:
            os._exit(99)

    def _wait_for_save(self, run: Run, process: int, count: int) -> None:
        """Wait for the temporary file of a save, of the next but ``count - 1``, or for the end of the process."""
        here = True
        while count and not _has_ended(process):
            before, here = here, bool(_saves_begun(run))
            count -= here and not before
            time.sleep(0.0002)

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
                # The undisturbed run has none of its beginning; where loaders fail at once, that is saved.
                assert step == 0 or _tensors(run, step) == self.tensors[step], f"step {step} is a wrong one"
        else:
            self.seen["kills before the first checkpoint"] += 1
        done = max((row.step for row in rows), default=0)
        due = done - done % EVERY
        self.seen[f"kills with {'the newest' if newest >= due else 'the last but one'} checkpoint in place"] += 1
        # A save waits for the one before; that of the step `done` may not have begun.
        assert newest >= due - EVERY * (1 if done > due else 2), f"step {done} was reached, {newest} is the newest"
        kept = [row for row in exact_metrics(run) if row["step"] <= newest]
        expected = [row for row in self.rows if row["step"] <= newest]
        assert kept == expected or kept == expected[:-1], (
            "no row of a saved step is missing, but of a validation cut short"
        )

    def _check_end(self, run: Run) -> None:
        """All of a run that was killed equals the undisturbed one, to the bit, and nothing else lies about."""
        steps = [step for step in run.checkpoint_steps() if step]
        assert set(range(EVERY, 25, EVERY)) <= set(steps)
        assert {step: _tensors(run, step) for step in steps} == {step: self.tensors[step] for step in steps}
        assert CheckpointRef("last").load(run)[1] == []
        assert exact_metrics(run) == self.rows
        assert run.validation_steps() == self.reference.validation_steps()
        assert all(read_result(run, step) == read_result(self.reference, step) for step in run.validation_steps())
        assert not list(run.path.rglob(".*.tmp"))
        self.seen["leftovers removed"] += sum(event.kind == "cleaned" for event in read_events(run))
        self.seen["loaders restarted"] += sum(event.kind == "loader_failed" for event in read_events(run))


def _tensors(run: Run, step: int) -> dict[str, str]:
    return load_header(run.checkpoint_path(step))[0].digests


def _saves_begun(run: Run) -> list[str]:
    try:
        return [name for name in os.listdir(run.path / "checkpoints") if name.endswith(".tmp")]
    except FileNotFoundError:
        return []


def _has_ended(process: int) -> bool:
    return os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _wait(process: int, seconds: float = 120.0) -> int | None:
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
    parser.add_argument("--what", choices=ARGUMENTS, default="trainer")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(json.dumps(Torture(options.folder, options.what, options.seed).run(options.kills)))
