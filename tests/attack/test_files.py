"""Odd names and files: what is no recording is left out by name, and what is one is used."""

import json
import os
import random
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.attack import odd_folders as odd
from tests.attack.odd_audio import BROKEN, ODD, good
from tests.attack.properties import complaints
from tests.attack.target import Target
from tests.attack.victim import Victim
from tests.helpers import TINY

NUM_SPEAKERS = 6


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Speech of six speakers, as WAV files."""
    root = tmp_path_factory.mktemp("whole") / "speech"
    for number in range(NUM_SPEAKERS):
        (root / f"speaker{number}").mkdir(parents=True)
        for recording in range(4):
            good(root / f"speaker{number}" / f"{recording}.wav")
    return root


class Attack:
    """Commands on odd corpora, and what was wrong with what they did."""

    def __init__(self, hifitse: Target, whole: Path, folder: Path) -> None:
        self.hifitse, self.whole, self.folder = hifitse, whole, folder
        self.num, self.failures = 0, list[str]()

    def corpus(self) -> Path:
        """Return a fresh copy of the speech."""
        self.num += 1
        return Path(shutil.copytree(self.whole, self.folder / str(self.num)))

    def run(self, what: str, command: Sequence[object], named: Sequence[str] = (), is_left_out: bool = False) -> int:
        """Run a command; what is left out is named by it, even if the rest can be used."""
        colors = self.num % 4 == 0
        result = self.hifitse.run(*command, cwd=self.folder, colors=colors)
        found = complaints(result, named, colors)
        said = (result.out + result.err).replace("\n", "")
        if is_left_out and not any(name in said for name in named):
            found.append(f"leaves out none of {list(named)} by name: {result.out[-300:]} {result.err[-300:]}")
        self.failures += [f"{what}: {command[:2]}: {text}" for text in found]
        return result.code

    def check(self) -> None:
        assert not self.failures, f"{len(self.failures)} after {self.num} cases\n" + "\n".join(self.failures)

    def use(self, what: str, speech: Path, named: Sequence[str], is_left_out: bool = False) -> None:
        """Scan speech, mix scenes of it and train with it."""
        settings = ("--config", TINY, "--set", f"data.speech={speech}")
        code = self.run(what, ("data", "scan", *settings, "--json"), named, is_left_out)
        if code == 0:
            self.run(what, ("data", "preview", *settings, "-n", 2, "-o", f"scenes{self.num}"), named)


@pytest.fixture
def attack(hifitse: Target, whole: Path, tmp_path: Path) -> Attack:
    return Attack(hifitse, whole, tmp_path)


def every(stride: int) -> pytest.MarkDecorator:
    """Use some of the cases always, all of them in an attack."""
    values = [pytest.param(stride, id="some"), pytest.param(1, id="all", marks=pytest.mark.attack)]
    return pytest.mark.parametrize("stride", values)


@every(9)
def test_what_is_no_recording_is_left_out_by_name(attack: Attack, stride: int) -> None:
    for name in list(BROKEN)[::stride]:
        speech = attack.corpus()
        BROKEN[name](speech / "speaker0", random.Random(attack.num))
        attack.use(name, speech, ["odd"], is_left_out=True)
    attack.check()


@every(9)
def test_odd_recordings_are_used_or_named(attack: Attack, stride: int) -> None:
    for name in list(ODD)[::stride]:
        speech = attack.corpus()
        for number in range(NUM_SPEAKERS):
            ODD[name](speech / f"speaker{number}", random.Random(attack.num))
        attack.use(name, speech, ["odd"])
    attack.check()


@every(9)
def test_what_is_extracted_from_odd_files_is_a_sound_or_an_error(attack: Attack, victim: Victim, stride: int) -> None:
    model = victim.copy() / "m.safetensors"
    for name, make in list((BROKEN | ODD).items())[::stride]:
        speech = attack.corpus()
        make(speech, random.Random(attack.num))
        (path,) = (path for path in speech.iterdir() if "odd" in path.name)
        files = (path, speech / "speaker0" / "0.wav")
        for recordings in (files, files[::-1]):
            attack.run(name, ("extract", "--model", model, *recordings, "-o", "out.wav"), ["odd"], name in BROKEN)
    attack.check()


@every(6)
def test_a_name_is_text(attack: Attack, victim: Victim, stride: int) -> None:
    model = victim.copy() / "m.safetensors"
    for name in odd.NAMES[::stride]:
        speech = attack.corpus()
        for speaker in (speech / "speaker0", speech / name.removesuffix(".wav")):
            speaker.mkdir(exist_ok=True)
            good(speaker / name)
            (speaker / f"broken{name[:200]}").write_bytes(b"this is no sound")
        attack.use(repr(name), speech, ["broken"])
        files = (speech / "speaker0" / name, speech / "speaker1" / "0.wav")
        attack.run(
            repr(name), ("extract", "--model", model, *files, "-o", speech / f"out{name[-200:]}"), ["out", "speaker0"]
        )
    attack.check()


@every(3)
def test_a_name_that_is_no_text_is_told(attack: Attack, stride: int) -> None:
    for name in odd.INVALID[::stride]:
        speech = attack.corpus()
        (speech / os.fsdecode(name.partition(b".")[0] + b"folder")).mkdir()
        good(speech / "speaker0" / os.fsdecode(name))
        attack.use(repr(name), speech, ["speaker0/"], is_left_out=True)
    attack.check()


@every(4)
def test_odd_trees_end(attack: Attack, stride: int) -> None:
    for name in list(odd.FOLDERS)[::stride]:
        speech = attack.corpus()
        odd.FOLDERS[name](speech / "speaker0", random.Random(0))
        attack.use(name, speech, ["odd"])
        # Python's own way to remove a tree goes no deeper than its stack.
        subprocess.run(["rm", "-rf", speech], check=True)
    attack.check()


@every(8)
def test_a_manifest_is_read_or_its_line_is_named(attack: Attack, stride: int) -> None:
    lines = [*odd.LINES, *(json.dumps({"path": path, "speaker": "x"}).encode() for path in odd.PATHS)]
    for line in lines[::stride]:
        path = attack.folder / f"manifest{attack.num}.jsonl"
        odd.manifest(path, attack.corpus(), line)
        attack.use(repr(line)[:80], path, [path.name], is_left_out=False)
    attack.check()


@every(8)
def test_an_hdf5_file_gives_only_what_is_in_it(attack: Attack, stride: int) -> None:
    for name in list(odd.HDF5)[::stride]:
        path = attack.folder / f"odd{attack.num}.h5"
        attack.num += 1
        odd.hdf5(path, odd.HDF5[name])
        attack.use(name, path, [path.name, "speakers"], is_left_out="rate" not in name)
    attack.check()
