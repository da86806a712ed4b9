"""The public face: cheap to import, documented, and the same as the command line."""

import inspect
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import hifitse
from hifitse.errors import StoppedError, UsageError
from tests.helpers import DATA, TINY, Cli

ROOT = Path(__file__).parents[1]


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray]:
    """A mixture of two bundled voices, and a reference, at 16 kHz."""
    folder = hifitse.load_config("demo").data.speech[0]
    first, second, reference = (
        soundfile.read(file, dtype="float32")[0][:32000] for file in sorted(Path(str(folder)).rglob("*.flac"))[:60:20]
    )
    length = min(len(first), len(second))
    return first[:length] + second[:length], reference


def test_importing_it_loads_nothing_heavy() -> None:
    heavy = "{'torch', 'numpy', 'pydantic', 'typer', 'rich', 'yaml', 'scipy'}"
    code = f"import sys, hifitse; hifitse.__version__, dir(hifitse); print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_all_names_exist_and_are_documented() -> None:
    assert sorted(hifitse.__all__) == hifitse.__all__
    assert set(hifitse.__all__) < set(dir(hifitse))
    for name in hifitse.__all__:
        assert inspect.getdoc(getattr(hifitse, name)), name
    assert (Path(hifitse.__file__).parent / "py.typed").exists()
    with pytest.raises(AttributeError, match="no attribute 'extract'"):
        hifitse.extract  # noqa: B018


def test_si_sdr_and_the_objective_are_those_of_training() -> None:
    target, noise = torch.randn(2, 2, 4000, generator=torch.Generator().manual_seed(0))
    estimate = target + 0.1 * noise
    ours, scaled = hifitse.si_sdr(estimate, target), hifitse.si_sdr(3 * estimate, target)
    torch.testing.assert_close(scaled, ours, atol=1e-3, rtol=0)
    torch.testing.assert_close(ours, torch.full((2,), 20.0), atol=0.3, rtol=0)
    config = hifitse.load_config(TINY)
    weights = hifitse.Objective(config.loss).weights(has_absent=True)
    assert weights["absent"] == config.loss.ta_weight


def test_a_loaded_model_extracts_as_the_command_does(cli: Cli, trained: Path, tmp_path: Path) -> None:
    cli("data", "preview", "--run", trained, "-n", 1, "-o", tmp_path)
    scene = tmp_path / "scene_00000"
    output = tmp_path / "voice.wav"
    outcome = cli(
        "extract", scene / "mixture.wav", scene / "reference.wav", "-o", output, "--run", trained, "--from", "last"
    )
    assert outcome.code == 0, outcome.err
    extractor = hifitse.load(trained, device="cpu")
    files = (scene / "mixture.wav", scene / "reference.wav")
    mixture, reference = (soundfile.read(file, dtype="float32")[0] for file in files)
    voice = extractor(mixture, reference, sample_rate=extractor.sample_rate)
    np.testing.assert_array_equal(voice, soundfile.read(output, dtype="float32")[0])
    assert (extractor.sample_rate, extractor.step, extractor.config.kind) == (8000, 12, "compact")


def test_arrays_and_tensors_single_and_in_batches_give_the_same(
    trained: Path, pair: tuple[np.ndarray, np.ndarray]
) -> None:
    extractor, (mixture, reference) = hifitse.load(trained, checkpoint=12, device="cpu"), pair
    single = extractor(mixture, reference, sample_rate=16000)
    assert isinstance(single, np.ndarray) and single.shape == mixture.shape and single.dtype == np.float32
    as_tensors = extractor(torch.from_numpy(mixture), torch.from_numpy(reference), sample_rate=16000)
    assert isinstance(as_tensors, torch.Tensor)
    np.testing.assert_array_equal(as_tensors.numpy(), single)
    both = extractor(np.stack([mixture, mixture[::-1].copy()]), reference, sample_rate=16000)
    assert both.shape == (2, len(mixture))
    np.testing.assert_allclose(both[0], single, atol=1e-5)


def test_what_does_not_belong_together_is_named(trained: Path, pair: tuple[np.ndarray, np.ndarray]) -> None:
    extractor, (mixture, reference) = hifitse.load(trained, device="cpu"), pair
    with pytest.raises(ValueError, match="do not belong together"):
        extractor(np.stack([mixture] * 3), np.stack([reference] * 2), sample_rate=16000)
    with pytest.raises(hifitse.HifitseError, match=r"the reference lasts 0\.006 s"):
        extractor(mixture, reference[:100], sample_rate=16000)


def test_an_exported_model_and_a_checkpoint_file_load_too(cli: Cli, trained: Path, tmp_path: Path) -> None:
    exported = tmp_path / "model.safetensors"
    assert cli("export", "--run", trained, "--from", "12", "-o", exported).code == 0
    checkpoint = trained / "checkpoints" / "step_00000012.safetensors"
    signal = np.random.default_rng(0).standard_normal(8000).astype(np.float32)
    voices = [hifitse.load(file, device="cpu")(signal, signal, 8000) for file in (exported, checkpoint)]
    np.testing.assert_array_equal(*voices)
    with pytest.raises(UsageError, match="no such file"):
        hifitse.load(tmp_path / "none.safetensors")
    with pytest.raises(UsageError, match="no such run"):
        hifitse.load(tmp_path / "none")


def test_an_opened_run_gives_flat_rows(trained: Path) -> None:
    run = hifitse.open_run(trained)
    assert run.checkpoints == [2, 4, 6, 8, 10, 12] and run.best is None
    assert [row["step"] for row in run.metrics] == list(range(1, 13))
    assert {"loss", "learning_rate", "terms.neg_si_sdr", "terms.absent"} <= run.metrics[-1].keys()
    stored = json.loads((trained / "validation" / "step_00000012.json").read_text())
    last = run.validations[-1]
    assert last["tp_si_sdri"] == stored["metrics"]["tp_si_sdri"]
    assert last["model.rms_ratio"] == stored["raw_metrics"]["rms_ratio"]
    assert not any(isinstance(value, dict | list) for row in [*run.metrics, *run.validations] for value in row.values())
    assert [event["kind"] for event in run.events] == ["started", "finished"]


def test_training_from_python_is_that_of_the_command(trained: Path, tmp_path: Path) -> None:
    run = hifitse.train(hifitse.load_config(TINY), tmp_path / "run", device="cpu")
    ours, theirs = (
        [{name: value for name, value in row.items() if not name.startswith("machine.")} for row in found.metrics]
        for found in (run, hifitse.open_run(trained))
    )
    assert ours == theirs
    assert run.validations == hifitse.open_run(trained).validations
    with pytest.raises(UsageError, match="this run exists"):
        hifitse.train(hifitse.load_config(TINY), tmp_path / "run")


def test_training_from_python_refuses_an_objective_that_pays_for_silence(tmp_path: Path) -> None:
    config = hifitse.load_config(TINY, ["loss.absent.kind=raw_db"])
    with pytest.raises(StoppedError, match="pays for what nobody wants"):
        hifitse.train(config, tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


def test_the_examples_run(tmp_path: Path, trained: Path) -> None:
    def example(name: str, *arguments: object) -> str:
        command = [sys.executable, str(ROOT / "examples" / name), *map(str, arguments)]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    said = example("added_loss_term.py", "runs/l1", 20)
    assert "step 20: loss" in said and "2 times l1" in said
    speech = next(iter(sorted((DATA.parents[1] / "hifitse/bundled/demo_corpus/speech").rglob("*.flac"))))
    assert "step 20: loss" in example("own_network.py", "runs/own", 20)
    said = example("extract.py", trained, speech, speech, "voice.wav")
    assert "voice in voice.wav" in said
    assert soundfile.info(tmp_path / "voice.wav").frames == soundfile.info(speech).frames
