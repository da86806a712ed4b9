"""A wheel, installed anywhere, is all that a first try needs."""

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from hifitse.config.files import BUNDLED

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the wheel of this checkout is installed; what it depends on comes from the environment."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    subprocess.run([*pip, "wheel", "--no-deps", "-w", str(folder), str(ROOT)], check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_it_works_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(installed)}

    def hifitse(*arguments: str) -> str:
        command = [sys.executable, "-P", "-m", "hifitse", *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "Commands" in hifitse("--help")
    hifitse("init", "--like", "demo")
    few = ("train.total_steps=8", "train.validate_every=4", "train.warmup_steps=2", "curriculum.tp.until=4")
    few = (*few, "data.num_workers=0", "validation.num_scenes=5", "train.batch_size=4", "train.micro_batch_size=4")
    hifitse("train", *(part for setting in few for part in ("--set", setting)))
    assert str(installed) in (tmp_path / "runs/hifitse/config.yaml").read_text(), "the recordings of the wheel"
    hifitse("export", "--from", "last", "-o", "model.safetensors")
    hifitse("data", "preview", "-n", "1", "-o", "listen")
    mixture, reference = (f"listen/scene_00000/{name}.wav" for name in ("mixture", "reference"))
    hifitse("extract", mixture, reference, "-o", "voice.wav", "--model", "model.safetensors")
    assert (tmp_path / "voice.wav").stat().st_size > 1000


def test_it_holds_the_model_of_the_checkout_and_stays_small(installed: Path, tmp_path: Path) -> None:
    ours, theirs = (folder / "model" for folder in (BUNDLED, installed / "hifitse/bundled"))
    assert {path.name: path.read_bytes() for path in theirs.glob("*")} == {
        path.name: path.read_bytes() for path in ours.glob("*")
    }
    if not ours.exists():
        pytest.skip("this checkout has no model")
    assert sum(path.stat().st_size for path in ours.glob("*")) < 10e6
    voices = sorted(str(path) for path in (BUNDLED / "demo_corpus/speech").glob("*/*.flac"))
    command = [sys.executable, "-P", "-m", "hifitse", "extract", voices[0], voices[-1], "-o", "voice.wav"]
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)


def test_the_bundled_configurations_are_those_of_the_checkout(installed: Path) -> None:
    ours = {path.name: path.read_text() for path in (ROOT / "configs").glob("*.yaml")}
    assert {path.name: path.read_text() for path in (BUNDLED / "configs").glob("*.yaml")} == ours
    assert {path.name: path.read_text() for path in (installed / "hifitse/bundled/configs").glob("*.yaml")} == ours


def test_no_command_needs_an_extra_to_start() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = " ".join(project["dependencies"])
    assert not any(name in needed for name in ("matplotlib", "h5py", "pyroomacoustics"))
