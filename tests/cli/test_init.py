"""A configuration to start from, and what may stand in it."""

import json
from pathlib import Path

import pytest

from hifitse.config.files import load_config
from tests.helpers import SPEECH, TINY, Cli


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["demo", "hifi_tse"])
def test_it_is_commented_and_means_what_it_is_like(cli: Cli, here: Path, name: str) -> None:
    outcome = cli("init", "--like", name)
    assert outcome.code == 0 and "hifitse smoke" in outcome.err
    assert "  # " in (here / "hifitse.yaml").read_text()
    assert load_config(here / "hifitse.yaml") == load_config(name)


def test_corpora_go_into_it(cli: Cli, here: Path) -> None:
    (here / "a b").mkdir()
    outcome = cli("init", "new", "--speech", SPEECH, "--speech", "a b", "--noise", "a b", "--json")
    assert outcome.code == 0 and json.loads(outcome.out) == {"config": "new/hifitse.yaml", "like": "hifi_tse"}
    data = load_config(here / "new/hifitse.yaml").data
    assert data.speech == (SPEECH, here / "a b") and data.noise == (here / "a b",)
    assert data.rir == load_config("hifi_tse").data.rir


def test_nothing_is_overwritten_and_mistakes_are_named(cli: Cli, here: Path) -> None:
    (here / "hifitse.yaml").write_text("seed: 1")
    assert "exists" in cli("init").err and (here / "hifitse.yaml").read_text() == "seed: 1"
    assert "there are collapse, demo, fullband_48k, hifi_tse, libri2mix" in cli("init", "x", "--like", "dmo").err
    assert "--speech nowhere: no such file or folder" in cli("init", "x", "--speech", "nowhere").err
    assert not (here / "x").exists()


def test_a_recipe_is_copied_once_its_corpora_are_named(cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CORPORA", raising=False)
    outcome = cli("init", "x", "--like", "libri2mix")
    assert outcome.code == 2 and "CORPORA; set it" in outcome.err and not (here / "x/hifitse.yaml").exists()
    assert cli("init", "x", "--like", "libri2mix", "--speech", SPEECH).code == 0
    assert load_config(here / "x/hifitse.yaml").data.speech == (SPEECH,)


def test_commands_find_it_and_name_what_they_looked_for(cli: Cli, here: Path) -> None:
    outcome = cli("config", "show")
    assert outcome.code == 2
    assert "hifitse.yaml or configs/hifi_tse.yaml" in outcome.err and "hifitse init" in outcome.err
    (here / "hifitse.yaml").write_text(f"extends: {TINY}\nseed: 5")
    assert "seed: 5\n" in cli("config", "show").out
    assert "seed: 0\n" in cli("config", "show", "--config", "demo").out


def test_extends_fills_in_what_is_not_said(here: Path) -> None:
    (here / "base.yaml").write_text("extends: demo\nloss: {ta_weight: 0.3}\ndata: {speech: corpora}")
    (here / "own.yaml").write_text(
        "extends: base.yaml\ntrain: {total_steps: 5000}\n"
        "model: {kind: grid, stft: {n_fft: 512, window: 512, hop: 256}, bands: 20}"
    )
    config, demo = load_config("own.yaml"), load_config("demo")
    assert (config.loss.ta_weight, config.train.total_steps) == (0.3, 5000)
    assert config.loss.amplitude_weight == demo.loss.amplitude_weight
    assert config.train.batch_size == demo.train.batch_size and config.curriculum == demo.curriculum
    assert config.model.kind == "grid", "a section of another kind does not keep the settings of the old one"
    assert config.data.speech == (here / "corpora",) and config.data.noise == demo.data.noise


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("extends: nope", "own.yaml:1: extends: nope: no such configuration in "),
        ("seed: 1\nextends: own.yaml", "own.yaml:2: extends: own.yaml extends this file in turn"),
        ("extends: [demo]", "own.yaml:1: extends: expected the name of a configuration, got ['demo']"),
        ("extends: base.yaml\nsed: 1", "own.yaml:2: sed: unknown key; did you mean 'seed'?"),
        ("extends: base.yaml\ntrain: {batch_size: 0}", "own.yaml:2: train.batch_size: must be at least 1, got 0"),
        ("extends: base.yaml", "base.yaml:2: loss.ta_weight: must be below 1, got 3"),
        (
            "extends: demo\ndata: {noise: '${NOPE}/x'}",
            "own.yaml: data.noise: ${NOPE}/x: there is no environment",
        ),
    ],
)
def test_problems_are_put_down_to_the_file_that_has_them(cli: Cli, here: Path, text: str, message: str) -> None:
    bad = "3" if message.startswith("base") else "0.3"
    (here / "base.yaml").write_text(f"extends: demo\nloss: {{ta_weight: {bad}}}")
    (here / "own.yaml").write_text(text)
    outcome = cli("config", "show", "--config", "own.yaml")
    assert outcome.code == 2
    assert any(line.removeprefix("error: ").startswith(message) for line in outcome.err.splitlines()), outcome.err


def test_variables_and_the_home_folder_stand_in_paths(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORPORA", str(here))
    (here / "own.yaml").write_text("extends: demo\ndata: {speech: ['${CORPORA}/a', $CORPORA/b, ~/c]}")
    assert load_config("own.yaml").data.speech == (here / "a", here / "b", Path.home() / "c")
    assert load_config("demo", ["data.speech=$CORPORA/d"]).data.speech == (here / "d",)
