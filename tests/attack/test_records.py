"""Hundreds of damaged and forged records of runs: each is refused or left out by name, no outcome changes unseen."""

import random
from pathlib import Path

import pytest

from tests.attack import damage
from tests.attack.victim import Victim

READERS = {
    "runs/v/validation/step_00000004.json": ("select", "resume", "fork", "validate best", "go back"),
    "runs/v/validation/step_00000008.json": ("select", "resume", "fork", "validate", "go back"),
    "runs/v/best.json": ("list", "validate best", "export", "select", "go back", "resume with retention"),
    "runs/v/pins.json": ("list", "pin", "unpin", "resume with retention"),
    "runs/f/origin.json": ("list", "resume the fork"),
    "runs/v/abandoned/01/branch.json": ("list", "restore", "go back", "resume with retention"),
    "runs/v/metrics.jsonl": ("list", "resume", "fork", "select", "restore", "go back"),
    "runs/v/events.jsonl": ("list", "resume", "restore", "go back"),
    "runs/v/abandoned/01/metrics.jsonl": ("list", "restore"),
    "runs/v/config.yaml": ("list", "select", "resume", "extract", "export", "go back"),
    "runs/v/abandoned/01/config.yaml": ("list", "restore"),
    "runs/v/lock": ("list", "resume", "restore"),
    ".cache/hifitse/headers-*.json": ("scan", "resume", "validate"),
}
"""Each record, and the commands that read it."""


def believed(name: str, command: str) -> bool:
    """Tell whether another value may have been meant: settings are written by people, rows only tell what was."""
    return name.endswith(("config.yaml", "lock")) or (name.endswith(".jsonl") and command in ("list", "restore"))


def hit(path: Path, rng: random.Random) -> str:
    """Damage a file; return how, and whether somebody made it look right."""
    by_hand = {".yaml": damage.change_setting, ".jsonl": damage.change_row, ".json": damage.change_record}
    kinds = [*damage.BY_A_DISK, damage.write_something_else, rng.choice(damage.NO_FILES)]
    if path.suffix in by_hand:
        kinds += [by_hand[path.suffix]] * 6
    kind = rng.choice(kinds)
    kind(path, rng)
    return kind.__name__


@pytest.mark.parametrize(
    "seeds", [pytest.param(range(12), id="some"), pytest.param(range(12, 400), id="all", marks=pytest.mark.attack)]
)
def test_a_damaged_record_is_named_and_changes_no_outcome_unseen(victim: Victim, seeds: range) -> None:
    failures = []
    for seed in seeds:
        rng = random.Random(seed)
        name = sorted(READERS)[seed % len(READERS)]
        command = rng.choice(READERS[name])
        victim.expected(command)
        path = rng.choice(sorted(victim.copy().glob(name)))
        folder = victim.folder
        how = hit(path, rng)
        forged = how in ("change_record", "change_row")
        named = [path.name, "is not pinned", "the run has no pins"] if command == "unpin" else [path.name]
        found = victim.failures(command, folder, named, forged or believed(name, command), rng.random() < 0.2)
        failures += [f"seed {seed}: {how} of {name}: {text}" for text in found]
    assert not failures, f"{len(failures)}\n" + "\n".join(failures)
