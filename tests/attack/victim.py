"""A folder with runs, an exported model and recordings, and the commands that read them."""

import json
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import soundfile as sf

from hifitse.checkpoint.file import load_header
from hifitse.errors import CheckpointError
from tests.attack.properties import complaints, content
from tests.attack.target import Result, Target
from tests.helpers import SPEECH, TINY

Outcome = object
"""What a command has computed: two of them are equal or not."""


@dataclass(frozen=True)
class Command:
    arguments: tuple[object, ...]
    outcome: Callable[[Path, Result], Outcome]
    may_change: str = "nothing"
    """Files that it may write: a pattern of their paths."""


def _said(_: Path, result: Result) -> Outcome:
    return result.out


def _listed(_: Path, result: Result) -> Outcome:
    volatile = ("last_activity", "size_bytes")
    return [{key: run[key] for key in run if key not in volatile} for run in json.loads(result.out)]


def _file(name: str) -> Callable[[Path, Result], Outcome]:
    return lambda folder, _: (folder / name).read_bytes()


def _voice(folder: Path, _: Result) -> Outcome:
    # The file itself holds the time at which it was written.
    return sf.read(folder / "out.wav")[0].tolist()


def _weights(name: str) -> Callable[[Path, Result], Outcome]:
    """What was learnt, whatever checkpoint it went on from."""

    def read(folder: Path, _: Result) -> Outcome:
        try:
            return load_header(folder / name)[0].digests
        except CheckpointError as error:
            return str(error)

    return read


def _pinned(folder: Path, _: Result) -> Outcome:
    return {
        step: pin["reason"]
        for step, pin in json.loads((folder / "runs/v/pins.json").read_text()).items()
        if step.isdecimal()
    }


def _branch(folder: Path, _: Result) -> Outcome:
    ours = r"(checkpoints|validation)/step_[0-9]{8}\.\w+|metrics\.jsonl|config\.yaml"
    return {name: data for name, data in content(folder / "runs/v").items() if re.fullmatch(ours, name)}


_RUN = r"runs/v/.*|\.cache/.*"
COMMANDS = {
    "list": Command(("runs", "list", "--json"), _listed),
    "select": Command(("select-best", "--run", "v", "--json"), _said, r"runs/v/best\.json"),
    "validate": Command(
        ("validate", "--run", "v", "--from", 8, "--json"), _said, r"runs/v/validation/.*0008\.json|\.cache/.*"
    ),
    "validate best": Command(
        ("validate", "--run", "v", "--from", "best", "--json"), _said, r"runs/v/validation/.*0004\.json|\.cache/.*"
    ),
    "export": Command(("export", "--run", "v", "-o", "out.safetensors"), _file("out.safetensors"), r"out\.safetensors"),
    "extract": Command(
        ("extract", "--run", "v", "--from", 8, "mixture.wav", "reference.wav", "-o", "out.wav"),
        _voice,
        r"out\.wav",
    ),
    "extract model": Command(
        ("extract", "--model", "m.safetensors", "mixture.wav", "reference.wav", "-o", "out.wav"),
        _voice,
        r"out\.wav",
    ),
    "resume": Command(
        ("resume", "--run", "v", "--stop-at", 11), _weights("runs/v/checkpoints/step_00000011.safetensors"), _RUN
    ),
    "resume with retention": Command(
        ("resume", "--run", "v", "--stop-at", 11, "--set", "retention.keep_last=1"),
        _weights("runs/v/checkpoints/step_00000011.safetensors"),
        _RUN,
    ),
    "resume the fork": Command(
        ("resume", "--run", "f", "--stop-at", 11),
        _weights("runs/f/checkpoints/step_00000011.safetensors"),
        r"runs/f/.*|\.cache/.*",
    ),
    "go back": Command(
        ("resume", "--run", "v", "--from", 6, "--stop-at", 7),
        _weights("runs/v/checkpoints/step_00000007.safetensors"),
        _RUN,
    ),
    "fork": Command(
        ("resume", "--run", "v", "--from", 8, "--as", "g", "--stop-at", 9),
        _weights("runs/g/checkpoints/step_00000009.safetensors"),
        r"runs/g/.*|runs/g|\.cache/.*",
    ),
    "restore": Command(("runs", "restore", "--run", "v", "01"), _branch, _RUN),
    "pin": Command(("runs", "pin", "--run", "v", "--from", 6), _pinned, r"runs/v/pins\.json"),
    "unpin": Command(("runs", "unpin", "--run", "v", "--from", 4), _pinned, r"runs/v/pins\.json"),
    "scan": Command(("data", "scan", "--config", TINY, "--json"), _said, r"\.cache/.*"),
}


def grow(hifitse: Target, folder: Path) -> None:
    """Fill a folder: runs/v with an archived branch, a best and a pin, its fork runs/f, a model, two recordings."""
    for name, source in zip(("mixture", "reference"), sorted(SPEECH.rglob("*.flac")), strict=False):
        samples, rate = sf.read(source, frames=16000)
        sf.write(folder / f"{name}.wav", samples, rate)
    for arguments in (
        ("train", "--config", TINY, "--run", "v", "--stop-at", 10),
        ("resume", "--run", "v", "--from", 6, "--set", "loss.ta_weight=0.3", "--stop-at", 10),
        ("select-best", "--run", "v"),
        ("runs", "pin", "--run", "v", "--from", 4, "--reason", "a good one"),
        ("resume", "--run", "v", "--from", 8, "--as", "f", "--stop-at", 10),
        ("export", "--run", "v", "-o", "m.safetensors"),
    ):
        result = hifitse.run(*arguments, cwd=folder)
        assert result.code == 0, result


def lost(before: dict[str, bytes], folder: Path, command: Command) -> list[str]:
    """Return the files that a command has changed or removed, of those that it has no business with."""
    after = content(folder)
    changed = (name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    return sorted(name for name in changed if not re.fullmatch(command.may_change, name))


class Victim:
    """The folder, and copies of it."""

    def __init__(self, hifitse: Target, folder: Path) -> None:
        self._hifitse, self._folder = hifitse, folder / "whole"
        self._folder.mkdir()
        grow(hifitse, self._folder)
        self._copy = folder / "copy"
        self._outcomes: dict[str, Outcome] = {}

    def copy(self) -> Path:
        """Return a fresh copy, in place of the one before."""
        shutil.rmtree(self._copy, ignore_errors=True)
        return Path(shutil.copytree(self._folder, self._copy, symlinks=True))

    @property
    def folder(self) -> Path:
        return self._copy

    def expected(self, name: str) -> Outcome:
        """Return what a command makes of an undamaged copy."""
        if name not in self._outcomes:
            folder, command = self.copy(), COMMANDS[name]
            before = content(folder)
            result = self._hifitse.run(*command.arguments, cwd=folder)
            assert result.code == 0 and not lost(before, folder, command), (name, result, lost(before, folder, command))
            self._outcomes[name] = command.outcome(folder, result)
        return self._outcomes[name]

    def failures(
        self, name: str, folder: Path, named: Sequence[str], believes: bool = True, colors: bool = False
    ) -> list[str]:
        """Run a command in a copy that was damaged; return what is wrong with what it does.

        Args:
            named: what was damaged; it is to be named if the command fails, or computes something else. If there is
                nothing, the command must not fail.
            believes: the command may do something else without a word, since a person may have meant it.
        """
        expected, command = self.expected(name), COMMANDS[name]
        before = content(folder)
        result = self._hifitse.run(*command.arguments, cwd=folder, colors=colors)
        found = complaints(result, named, colors)
        if result.code and not named:
            found.append(f"fails: {result.err[-600:]!r}")
        if result.code == 0 and not believes and not any(text in result.out + result.err for text in named):
            outcome = command.outcome(folder, result)
            if outcome != expected:
                found.append(f"silently another outcome: {outcome!r:.600} instead of {expected!r:.600}")
        if gone := lost(before, folder, command):
            found.append(f"changed {gone}")
        return [f"{name}: {text}" for text in found]
