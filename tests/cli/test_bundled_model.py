"""The model that comes with hifitse: used where nothing else is named or trained, and said to be."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

import hifitse
from hifitse.checkpoint.export import export_model
from hifitse.checkpoint.file import load_checkpoint
from hifitse.errors import UsageError
from hifitse.runs.run import Run
from tests.helpers import SPEECH, TINY, Cli

MIXTURE, REFERENCE = (sorted(SPEECH.rglob("*.flac"))[i] for i in (0, -1))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and a hifitse without a model."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr("hifitse.config.files.BUNDLED", tmp_path / "bundled")
    return folder


@pytest.fixture
def bundled(here: Path, tmp_path: Path, trained: Path) -> Path:
    path = tmp_path / "bundled" / "model" / "model.safetensors"
    path.parent.mkdir(parents=True)
    export_model(load_checkpoint(Run(trained).checkpoint_path(8)), path, half=True)
    return path


def test_right_after_installation_a_voice_can_be_extracted(cli: Cli, here: Path, bundled: Path) -> None:
    outcome = cli("extract", MIXTURE, REFERENCE, "-o", "voice.wav")
    assert outcome.code == 0, outcome.err
    assert "bundled" in outcome.err
    assert json.loads(cli("extract", MIXTURE, REFERENCE, "-o", "again.wav", "--json").out)["model"] == "bundled"
    cli("extract", MIXTURE, REFERENCE, "-o", "named.wav", "--model", bundled)
    assert np.array_equal(soundfile.read("voice.wav")[0], soundfile.read("named.wav")[0])


def test_from_python_it_takes_no_argument(bundled: Path) -> None:
    ours, named = hifitse.load(), hifitse.load(bundled)
    noise = np.random.default_rng(0).standard_normal((2, 8000)).astype(np.float32)
    assert np.array_equal(ours(noise[0], noise[1], 8000), named(noise[0], noise[1], 8000))


def test_a_run_of_the_configuration_here_goes_before_it(cli: Cli, here: Path, bundled: Path, trained: Path) -> None:
    shutil.copy(TINY, "hifitse.yaml")
    assert "bundled" in cli("extract", MIXTURE, REFERENCE, "-o", "voice.wav").err, "there is no run yet"
    shutil.copytree(trained, "runs/hifitse")
    assert "hifitse select-best" in cli("extract", MIXTURE, REFERENCE, "-o", "voice.wav").err
    assert cli("select-best").code == 0
    outcome = cli("extract", MIXTURE, REFERENCE, "-o", "voice.wav")
    assert outcome.code == 0 and "bundled" not in outcome.err
    assert "bundled" in cli("extract", MIXTURE, REFERENCE, "-o", "voice.wav", "--model", "bundled").err


def test_without_it_the_error_names_what_to_use_instead(cli: Cli, here: Path) -> None:
    outcome = cli("extract", MIXTURE, REFERENCE, "-o", "voice.wav")
    assert outcome.code == 2
    assert "--run" in outcome.err and "--model" in outcome.err and len(outcome.err.splitlines()) == 1
    with pytest.raises(UsageError, match="no model came with this hifitse"):
        hifitse.load()
