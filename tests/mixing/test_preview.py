"""What a preview says is what is in the files that it writes."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from hifitse.audio.levels import active_level, decibels, rms
from hifitse.config.schema import Config
from hifitse.corpus.corpus import load_corpus
from hifitse.mixing.curriculum import settings_at
from hifitse.mixing.preview import describe, empty_bands, measure_bands, measure_levels, write_scenes
from hifitse.mixing.rendering import render_index

MakeConfig = Callable[..., Config]


def test_measured_levels_are_those_of_the_files_and_of_the_recipe(make_config: MakeConfig, tmp_path: Path) -> None:
    config = make_config(mixing={"level_db": (-12, -12), "reference_dropout": 0})
    for scene in write_scenes(config, load_corpus(config), tmp_path, 8, step=2):
        levels = scene["levels"]
        heard = {
            name: sf.read(Path(scene["folder"]) / f"{name}.wav", dtype="float32")[0] for name in ("mixture", "target")
        }
        assert levels["peak"] == pytest.approx(np.abs(heard["mixture"]).max()) and levels["peak"] <= 0.9501
        if scene["present"]:
            assert levels["target_db"] == pytest.approx(decibels(active_level(heard["target"], 8000)), abs=1e-3)
        assert levels["target_db"] <= -11.999, "scaled down with the mixture"
        drawn = [interferer["sir_db"] for interferer in scene["interferers"]]
        assert levels["sir_db"] == pytest.approx(drawn, abs=1e-3)
        assert levels["snr_db"] == pytest.approx(scene["noise"]["snr_db"], abs=1e-3)
        assert levels["reference_db"] == pytest.approx(scene["reference"]["level_db"], abs=0.5)
        line = describe(scene)
        assert line.startswith(
            f"{scene['folder']}: {scene['speaker']}, target {'present' if scene['present'] else 'absent'}"
        )
        assert f"SNR {levels['snr_db']:.1f} dB" in line
        assert line.endswith("dry" if scene["room"] is None else f"room {scene['room']}")


def test_what_is_not_there_has_no_level(make_config: MakeConfig) -> None:
    config = make_config(mixing={"noise_probability": 0, "reference_dropout": 1})
    settings = settings_at(config, 0)
    scene, rendered = render_index(0, "t", 0, settings, load_corpus(config).train, config.audio, config.mixing)
    levels = measure_levels(scene, rendered, 8000)
    assert levels["snr_db"] is None and levels["reference_db"] is None
    assert "no noise" in describe({"folder": "f", "speaker": "s", "present": True, "room": None, "levels": levels})


def test_the_bands_of_both_splits(make_config: MakeConfig) -> None:
    config = make_config(audio={"sample_rate": 48000})
    corpus = load_corpus(config)
    bands = measure_bands(config, corpus)
    assert {split: list(kinds) for split, kinds in bands.items()} == {
        split: ["speech", "noise", "rir"] for split in ("train", "held_out")
    }
    lines = empty_bands(bands)
    assert len(lines) == 6 and all("hold nothing above 8 kHz" in line for line in lines)
    at_their_rate = make_config(audio={"sample_rate": 16000})
    assert not any("rir" in line for line in empty_bands(measure_bands(at_their_rate, corpus)))
    dry = replace(corpus, train=replace(corpus.train, rooms=()), held_out=replace(corpus.held_out, noises=()))
    assert [list(kinds) for kinds in measure_bands(config, dry).values()] == [["speech", "noise"], ["speech", "rir"]]


def test_a_noise_that_is_digital_silence_has_no_level(make_config: MakeConfig) -> None:
    config = make_config()
    corpus = load_corpus(config)
    scene, rendered = render_index(0, "t", 0, settings_at(config, 0), corpus.train, config.audio, config.mixing)
    assert rendered.noise is not None and rms(rendered.noise) > 0
    silent = replace(rendered, noise=np.zeros_like(rendered.noise))
    assert measure_levels(scene, silent, 8000)["snr_db"] is None
