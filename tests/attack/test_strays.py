"""Files of others in the folders of a run: they stay, and every command does what it does without them."""

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.attack.victim import COMMANDS, Victim

PLACES = ("", "checkpoints", "validation", "abandoned", "abandoned/01", "abandoned/01/checkpoints", "tensorboard")
NAMES = (
    *("step_backup01.safetensors", "step_00000012.safetensors.bak", "step_99999999999.safetensors", "step_.json"),
    *(
        "step_0000001\u0663.safetensors",
        "step_-0000001.json",
        "step_backup01.json",
        "\u00b2",
        "x1",
        "01.bak",
        "-rf",
        "[red]",
    ),
    *("notes.txt", ":100:[bold]", "\x1b[5;35m", "a\nb", "x" * 255, os.fsdecode(b"\xff\xfe.json"), "best.json.old", "~"),
)


def _folder(path: Path) -> None:
    path.mkdir()
    (path / "notes.txt").touch()


MAKERS: tuple[Callable[[Path], object], ...] = (
    lambda path: path.write_bytes(b"somebody's"),
    _folder,
    lambda path: os.mkfifo(path),
    lambda path: path.symlink_to(path.name),
    lambda path: path.symlink_to(".."),
    lambda path: path.symlink_to("/dev/zero"),
)


@pytest.mark.parametrize(
    "seeds", [pytest.param(range(3), id="some"), pytest.param(range(3, 90), id="all", marks=pytest.mark.attack)]
)
def test_files_of_others_are_passed_over_and_stay(victim: Victim, seeds: range) -> None:
    failures = []
    for seed in seeds:
        rng = random.Random(seed)
        command = rng.choice([name for name in sorted(COMMANDS) if name not in ("scan", "extract model")])
        victim.expected(command)
        folder = victim.copy()
        names = {f"runs/v/{rng.choice(PLACES)}/{rng.choice(NAMES)}" for _ in range(3)}
        for name in names:
            rng.choice(MAKERS)(folder / name)
        # They are no reason to fail, so nothing is named.
        found = victim.failures(command, folder, [], believes=False, colors=rng.random() < 0.3)
        found += [f"gone: {name!r}" for name in names if not os.path.lexists(folder / name)]
        failures += [f"seed {seed}: {command} with {sorted(names)}: {text}" for text in found]
    assert not failures, f"{len(failures)}\n" + "\n".join(failures)
