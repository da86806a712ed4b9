"""An exported model is one file that computes what its run computes, to the bit, or nothing at all."""

import errno
import json
import random
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.torch
import soundfile
import torch

from hifitse.checkpoint.export import export_model, load_exported
from hifitse.checkpoint.file import load_checkpoint
from hifitse.errors import CheckpointError
from hifitse.runs.run import Run
from tests.helpers import SPEECH, Cli

MIXTURE, REFERENCE = (sorted(SPEECH.rglob("*.flac"))[i] for i in (0, -1))


@pytest.fixture
def model(cli: Cli, trained: Path, tmp_path: Path) -> Path:
    assert cli("export", "--run", trained, "--from", 8, "-o", tmp_path / "model.safetensors").code == 0
    return tmp_path / "model.safetensors"


def test_it_extracts_what_its_run_extracts_bit_for_bit(
    cli: Cli, trained: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    voices = (MIXTURE, REFERENCE, "--target", MIXTURE, "--json")
    by_run = cli("extract", *voices, "-o", tmp_path / "run.wav", "--run", trained, "--from", 8)
    cli("extract", *voices, "-o", tmp_path / "other.wav", "--run", trained, "--from", 12)
    # A model needs nothing around it.
    monkeypatch.chdir(tmp_path)
    by_model = cli("extract", *voices, "-o", tmp_path / "model.wav", "--model", model)
    assert (by_run.code, by_model.code) == (0, 0)
    # Not the files' bytes: a WAV file holds the time when it was written.
    voice, same, another = (soundfile.read(tmp_path / f"{name}.wav")[0] for name in ("run", "model", "other"))
    assert np.array_equal(voice, same)
    assert not np.array_equal(voice, another)
    one, other = json.loads(by_run.out), json.loads(by_model.out)
    assert (one.pop("run"), other.pop("model")) == ("trained", str(model))
    assert one.pop("output") != other.pop("output")
    assert one == other


def test_it_holds_the_ema_weights_and_nobodys_folders(trained: Path, model: Path) -> None:
    tensors = load_checkpoint(Run(trained).checkpoint_path(8)).tensors
    weights = safetensors.torch.load_file(model)
    assert weights.keys() == {name.removeprefix("ema/") for name in tensors if name.startswith("ema/")}
    assert all(weight.equal(tensors[f"ema/{name}"]) for name, weight in weights.items())
    with safetensors.safe_open(model, "pt") as file:
        header = json.loads(file.metadata()["hifitse"])
    assert header["config"].keys() == {"audio", "model"}
    assert header["step"] == 8
    assert "demo_corpus" not in json.dumps(header)


def test_half_of_the_size_is_rounded_weights_that_run_in_float32(cli: Cli, trained: Path, tmp_path: Path) -> None:
    for name, option in (("whole", ()), ("half", ("--half",))):
        assert cli("export", "--run", trained, "--from", 8, "-o", tmp_path / f"{name}.safetensors", *option).code == 0
    whole, half = (tmp_path / f"{name}.safetensors" for name in ("whole", "half"))
    assert {tensor.dtype for tensor in safetensors.torch.load_file(half).values()} == {torch.float16}
    weights = [load_exported(path).network.state_dict() for path in (whole, half)]
    for name, weight in weights[0].items():
        assert weights[1][name].equal(weight.half().float())
    data = bytearray(half.read_bytes())
    data[-1] ^= 1
    half.write_bytes(data)
    with pytest.raises(CheckpointError, match="damaged"):
        load_exported(half)


def test_weights_that_float16_cannot_hold_are_refused(trained: Path, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(Run(trained).checkpoint_path(8))
    name = next(name for name in checkpoint.tensors if name.startswith("ema/"))
    checkpoint.tensors[name] = torch.full_like(checkpoint.tensors[name], 1e5)
    with pytest.raises(CheckpointError, match="65504"):
        export_model(checkpoint, tmp_path / "m.safetensors", half=True)
    assert not (tmp_path / "m.safetensors").exists()


def test_a_file_is_overwritten_only_on_demand(cli: Cli, trained: Path, model: Path) -> None:
    before = model.read_bytes()
    outcome = cli("export", "--run", trained, "--from", 12, "-o", model)
    assert outcome.code == 2
    assert "--force" in outcome.err
    assert model.read_bytes() == before
    assert cli("export", "--run", trained, "--from", 12, "-o", model, "--force").code == 0
    assert load_exported(model).step == 12


def test_a_write_that_fails_leaves_the_old_file(
    cli: Cli, trained: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    before, beside = model.read_bytes(), sorted(model.parent.iterdir())
    monkeypatch.setattr("os.fsync", fail)
    outcome = cli("export", "--run", trained, "--from", 12, "-o", model, "--force")
    assert outcome.code == 1
    assert "No space left" in outcome.err
    assert model.read_bytes() == before
    assert sorted(model.parent.iterdir()) == beside


def test_a_flipped_bit_is_found_wherever_it_is(model: Path) -> None:
    whole = model.read_bytes()
    for seed in range(60):
        data = bytearray(whole)
        limit = 8 + int.from_bytes(data[:8], "little") if seed % 2 else len(data)
        data[random.Random(seed).randrange(limit)] ^= 1 << seed % 8
        model.write_bytes(data)
        with pytest.raises(CheckpointError, match=r"model\.safetensors"):
            load_exported(model)


def test_damage_is_reported_in_one_line_with_the_remedy_of_a_model(cli: Cli, model: Path, tmp_path: Path) -> None:
    model.write_bytes(model.read_bytes()[:-100])
    outcome = cli("extract", MIXTURE, REFERENCE, "-o", tmp_path / "out.wav", "--model", model)
    assert outcome.code == 1
    assert "damaged" in outcome.err and "hifitse export" in outcome.err and "--from STEP" not in outcome.err
    assert len(outcome.err.splitlines()) == 1
    assert not (tmp_path / "out.wav").exists()


def test_a_model_and_a_checkpoint_are_not_confused(cli: Cli, trained: Path, model: Path, tmp_path: Path) -> None:
    extract = ("extract", MIXTURE, REFERENCE, "-o", tmp_path / "out.wav")
    outcome = cli(*extract, "--model", Run(trained).checkpoint_path(8))
    assert outcome.code == 1
    assert "a training checkpoint" in outcome.err and "--from" in outcome.err
    outcome = cli(*extract, "--run", trained, "--from", model)
    assert outcome.code == 1
    assert "an exported model" in outcome.err and "--model" in outcome.err
    assert cli(*extract, "--model", tmp_path / "none").code == 1
    assert not (tmp_path / "out.wav").exists()


@pytest.mark.parametrize("option", [("--run", "demo"), ("--from", "8"), ("--config", "a.yaml"), ("--set", "seed=1")])
def test_a_model_and_a_run_exclude_each_other(cli: Cli, tmp_path: Path, option: tuple[str, str]) -> None:
    outcome = cli("extract", MIXTURE, REFERENCE, "-o", tmp_path / "out.wav", "--model", tmp_path / "m", *option)
    assert outcome.code == 2
    assert "--model" in outcome.err and option[0] in outcome.err


def test_where_to_write_is_checked_first(cli: Cli, trained: Path, tmp_path: Path) -> None:
    assert ".safetensors" in cli("export", "--run", trained, "-o", tmp_path / "model.pt").err
    assert "there is no folder" in cli("export", "--run", trained, "-o", tmp_path / "none" / "m.safetensors").err
    assert "hifitse select-best" in cli("export", "--run", trained, "-o", tmp_path / "m.safetensors").err
    assert list(tmp_path.glob("*.safetensors")) == []
