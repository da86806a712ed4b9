"""Signals at every operation on files of a fork, of a restore and of the end of a run: the next command finishes it."""

import itertools
import json
import signal
from pathlib import Path

import pytest

from hifitse.checkpoint.file import load_header
from hifitse.runs.records import exact_metrics
from hifitse.runs.run import Run
from tests.attack.target import Target
from tests.attack.victim import Victim

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL, signal.SIGHUP, signal.SIGKILL, signal.SIGINT)
ENDS = (0, 130, 143, -signal.SIGKILL)
COMMANDS: dict[str, tuple[object, ...]] = {
    "fork": ("resume", "--run", "v", "--from", 8, "--as", "g", "--stop-at", 9),
    "restore": ("runs", "restore", "--run", "v", "01"),
    "end": ("resume", "--run", "v"),
}


def next_command(what: str, folder: Path) -> tuple[object, ...] | None:
    """Return what a person would do after a signal, or None if there is nothing left to do."""
    run, fork = Run(folder / "runs/v"), Run(folder / "runs/g")
    if what == "restore":
        return COMMANDS[what] if (run.archive_path / "01").exists() else None
    if what == "fork" and fork.exists():
        return ("resume", "--run", "g", "--stop-at", 9) if fork.checkpoint_steps()[-1] < 9 else None
    return COMMANDS[what]


def outcome(folder: Path) -> dict[str, object]:
    """Return what all runs of a folder have come to: nothing in it tells how often it was begun."""
    found: dict[str, object] = {}
    for path in sorted(folder.glob("runs/**/*")):
        name = str(path.relative_to(folder))
        if "/." in name or path.name == "heartbeat.json":
            # What a kill has left goes when the run is trained next.
            continue
        if path.suffix == ".safetensors":
            found[name] = load_header(path)[0].digests
        elif path.name == "metrics.jsonl":
            found[name] = exact_metrics(Run(path.parent))
        elif path.suffix == ".json" or path.name == "config.yaml":
            found[name] = path.read_text()
    events = (folder / "runs/v/events.jsonl").read_text().splitlines()
    found["finished"] = [json.loads(line)["kind"] for line in events].count("finished") > 0
    return found


@pytest.mark.parametrize(
    ("what", "every"),
    [
        pytest.param("restore", 15, id="some"),
        *(pytest.param(what, 1, id=f"all-{what}", marks=pytest.mark.attack) for what in COMMANDS),
    ],
)
def test_a_signal_before_any_change_of_a_file_costs_nothing(
    hifitse: Target, victim: Victim, what: str, every: int
) -> None:
    folder = victim.copy()
    assert hifitse.run(*COMMANDS[what], cwd=folder).code == 0
    expected = outcome(folder)
    for operation in itertools.count(step=every):
        number, folder = SIGNALS[operation // every % len(SIGNALS)], victim.copy()
        result = hifitse.run(*COMMANDS[what], cwd=folder, signal_at=(number, operation))
        if not (folder / ".signalled").exists():
            assert operation >= 10 and result.code == 0, "it does change something"
            print(f"{what}: {operation // every} signals")
            break
        assert result.code in ENDS and "Traceback" not in result.err, (operation, number.name, result)
        if command := next_command(what, folder):
            result = hifitse.run(*command, cwd=folder)
            assert result.code == 0, (operation, number.name, command, result)
        found = outcome(folder)
        assert {name: found.get(name) for name in expected} == expected, (operation, number.name)
        # Where a signal is heeded, the step that it came in is saved.
        more = [name for name in found.keys() - expected.keys() if not name.endswith(".safetensors")]
        assert not more, (operation, number.name)
