"""Scenes as files: what the model really hears, each with its recipe, its levels and the band that it comes from."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hifitse.audio.files import write_audio
from hifitse.audio.levels import active_level, decibels, rms
from hifitse.config.schema import Config
from hifitse.corpus.bandwidth import BandStats, band_stats, empty_band
from hifitse.corpus.corpus import SET_NAMES, Corpus
from hifitse.mixing.batch import step_indices
from hifitse.mixing.curriculum import held_out_settings, settings_at, validation_settings
from hifitse.mixing.loader import TEST_PURPOSE, TRAIN_PURPOSE, VALIDATION_PURPOSE, VALIDATION_SEED
from hifitse.mixing.rendering import Rendered, render_index
from hifitse.mixing.scenes import Scene


def write_scenes(
    config: Config, corpus: Corpus, folder: Path, number: int, step: int | Literal["test"] | None
) -> list[dict[str, Any]]:
    """Render scenes into ``folder/scene_NNNNN/``: mixture, reference and target, and the recipe as JSON.

    Args:
        number: how many scenes.
        step: the scenes from the first one of this training step on; test: those of the test; None: of the validation.

    Returns:
        The recipes, each with its folder and its measured levels.

    Raises:
        ConfigError: there is no test set.
        DataError: a recording cannot be read, or a file cannot be written.
    """
    first, seed = 0, VALIDATION_SEED
    if step is None:
        purpose, pool, fixed = VALIDATION_PURPOSE, corpus.held_out, validation_settings(config)
    elif step == "test":
        purpose, pool = TEST_PURPOSE, corpus.require_test()
        fixed = held_out_settings(config, config.test_set.absent_ratio)
    else:
        first, seed = step_indices(step, config.train.batch_size).start, config.seed
        purpose, pool, fixed = TRAIN_PURPOSE, corpus.train, None
    recipes = []
    for index in range(first, first + number):
        settings = fixed or settings_at(config, index // config.train.batch_size)
        scene, rendered = render_index(seed, purpose, index, settings, pool, config.audio, config.mixing)
        target = folder / f"scene_{index:05d}"
        target.mkdir(parents=True, exist_ok=True)
        for name in ("mixture", "reference", "target"):
            write_audio(target / f"{name}.wav", getattr(rendered, name), config.audio.sample_rate)
        levels = measure_levels(scene, rendered, config.audio.sample_rate)
        recipe = {"folder": str(target), **asdict(scene), "levels": levels}
        (target / "recipe.json").write_text(json.dumps(recipe, indent=2, default=str) + "\n")
        recipes.append(recipe)
    return recipes


def measure_levels(scene: Scene, rendered: Rendered, sample_rate: int) -> dict[str, Any]:
    """Return what is measured in the parts of a mixture.

    Active speech levels in dB below full scale of target (in TA scenes: what it would have been) and reference (None:
    there is none), the target's level over each interferer's, that of all speech over the RMS of the noise (None: no
    noise is heard), all in dB; and the largest sample.
    """
    interferers = rendered.voices[1:] if scene.present else rendered.voices
    target_db = scene.level_db + decibels(rendered.gain)
    if scene.present:
        target_db = decibels(active_level(rendered.voices[0], sample_rate))
    speech = decibels(active_level(np.add.reduce(rendered.voices), sample_rate))
    heard = rendered.noise is not None and bool(rendered.noise.any())
    return {
        "target_db": target_db,
        "sir_db": [target_db - decibels(active_level(voice, sample_rate)) for voice in interferers],
        "snr_db": speech - decibels(rms(rendered.noise)) if heard and rendered.noise is not None else None,
        "reference_db": decibels(active_level(rendered.reference, sample_rate)) if scene.reference.kept else None,
        "peak": float(np.abs(rendered.mixture).max()),
    }


def describe(recipe: dict[str, Any]) -> str:
    """Return a scene in a line."""
    levels = recipe["levels"]
    sir = ", ".join(f"{sir:.1f}" for sir in levels["sir_db"])
    snr = "no noise" if levels["snr_db"] is None else f"SNR {levels['snr_db']:.1f} dB"
    return (
        f"{recipe['folder']}: {recipe['speaker']}, target {'present' if recipe['present'] else 'absent'}, "
        f"{levels['target_db']:.1f} dB, SIR {sir} dB, {snr}, peak {levels['peak']:.2f}, "
        + ("dry" if recipe["room"] is None else f"room {recipe['room']}")
    )


def measure_bands(config: Config, corpus: Corpus) -> dict[str, dict[str, BandStats]]:
    """Return set to kind to where in the model's band the energy of its recordings is.

    Raises:
        DataError: a recording cannot be read.
    """
    kinds = {
        split: {
            "speech": [recording for speaker in pool.speakers for recording in speaker.recordings],
            "noise": pool.noises,
            "rir": pool.rirs,
        }
        for split, pool in corpus.pools.items()
    }
    return {
        split: {
            kind: band_stats(found, config.audio.sample_rate, responses=kind == "rir")
            for kind, found in recordings.items()
            if found
        }
        for split, recordings in kinds.items()
    }


def empty_bands(bands: dict[str, dict[str, BandStats]]) -> list[str]:
    """Return a line for each kind of recordings that mostly hold nothing in the upper part of the band."""
    return [
        f"data.{kind}, {SET_NAMES[split]}: {stats.empty_above[edge]} of {stats.recordings} measured recordings "
        f"hold nothing above {edge / 1000:.3g} kHz, whatever their sample rate"
        for split, kinds in bands.items()
        for kind, stats in kinds.items()
        for edge in [empty_band(stats)]
        if edge is not None
    ]
