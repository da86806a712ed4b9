"""What the command line says about scenes and corpora before a training."""

import json
from pathlib import Path

import numpy as np
import soundfile as sf

from hifitse.runs.run import Run
from tests.helpers import TINY, Cli, make_strangers

AT_48_KHZ = ("--set", "audio.sample_rate=48000")


def test_a_preview_shows_levels_rooms_and_bands(cli: Cli, tmp_path: Path) -> None:
    outcome = cli("data", "preview", "--config", TINY, *AT_48_KHZ, "-n", 2, "-o", tmp_path / "a")
    assert outcome.code == 0, outcome.err
    assert "scene_00000: " in outcome.out and "SIR" in outcome.out and "SNR" in outcome.out and "peak" in outcome.out
    assert "room " in outcome.out and "above 16 kHz" in outcome.out and "validation" in outcome.out
    assert "measured recordings hold nothing above 8 kHz" in " ".join(outcome.err.split())
    outcome = cli("data", "preview", "--config", TINY, *AT_48_KHZ, "-n", 2, "-o", tmp_path / "b", "--json")
    first, _ = json.loads(outcome.out)
    recipe = json.loads((tmp_path / "b" / "scene_00000" / "recipe.json").read_text())
    assert {"folder", "index", "attempt", "speaker", "present", "level_db", "target", "interferers", "noise"} <= set(
        recipe
    )
    assert first["levels"] == recipe["levels"] and len(first["levels"]["sir_db"]) == len(first["interferers"])
    assert set(first["bands"]) == {"train", "held_out"}
    assert first["bands"]["train"]["rir"]["empty_above"] == {"8000": 2, "12000": 2, "16000": 2}


def test_a_preview_of_the_test(cli: Cli, tmp_path: Path) -> None:
    own = ("--set", f"test.speech={make_strangers(tmp_path / 'strangers')}")
    outcome = cli("data", "preview", "--config", TINY, *own, "--test", "-n", 2, "-o", tmp_path / "a", "--json")
    first, _ = json.loads(outcome.out)
    assert set(first["bands"]) == {"train", "held_out", "test"}
    validation = json.loads(cli("data", "preview", "--config", TINY, "-n", 1, "-o", tmp_path / "b", "--json").out)[0]
    assert first["target"] != validation["target"]
    outcome = cli("data", "preview", "--config", TINY, "--test", "-n", 1, "-o", tmp_path / "c")
    assert outcome.code == 2 and "test: there is no test set; name corpora in test.speech" in outcome.err
    assert cli("data", "preview", "--config", TINY, "--test", "--step", 3, "-o", tmp_path / "c").code == 2


def test_what_a_low_rate_takes_away_is_a_warning_of_every_command_before_a_training(cli: Cli, tmp_path: Path) -> None:
    for command in (
        ("train", "--run", tmp_path / "run", "--stop-at", 1),
        ("smoke", "--steps", 1),
        ("data", "preview", "-n", 1, "-o", tmp_path / "scenes"),
        ("data", "scan"),
    ):
        outcome = cli(*command, "--config", TINY, *AT_48_KHZ)
        said = " ".join(outcome.err.split())
        assert "warning: data.rir: 2 of 2 impulse responses" in said and "67% of its band" in said, command
        assert "note: data.speech: 120 of 120 recordings" in said, command
    outcome = cli("data", "scan", "--config", TINY, *AT_48_KHZ, "--json")
    assert [warning.partition(":")[0] for warning in json.loads(outcome.out)["warnings"]] == ["data.noise", "data.rir"]


def test_an_import_never_normalizes_levels(cli: Cli, tmp_path: Path) -> None:
    original = Path(__file__).parents[1] / "data" / "original"
    outcome = cli(
        "import",
        original / "tiny_checkpoint_0200000.pt",
        "--config",
        original / "tiny.yaml",
        "--set",
        "model.normalize_level=true",
        "--run",
        tmp_path / "imported",
    )
    assert outcome.code == 0, outcome.err
    assert "normalize_level: false" in Run(tmp_path / "imported").config_path.read_text()


def test_a_48_khz_corpus_of_every_kind_is_silent(cli: Cli, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for speaker in "abc":
        (tmp_path / "speech" / speaker).mkdir(parents=True)
        for number in range(4):
            sf.write(tmp_path / "speech" / speaker / f"{number}.wav", rng.uniform(-0.3, 0.3, 60000), 48000)
    for kind in ("noise", "rir"):
        (tmp_path / kind).mkdir()
        sf.write(tmp_path / kind / "a.wav", rng.uniform(-0.3, 0.3, 30000), 48000)
    corpora = [part for kind in ("speech", "noise", "rir") for part in ("--set", f"data.{kind}={tmp_path / kind}")]
    outcome = cli("data", "preview", "--config", TINY, *AT_48_KHZ, *corpora, "-n", 1, "-o", tmp_path / "scenes")
    assert outcome.code == 0 and "warning" not in outcome.err
