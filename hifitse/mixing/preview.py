"""Scenes as files: what the model really hears, each with its recipe."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hifitse.audio.files import write_audio
from hifitse.config.schema import Config
from hifitse.corpus.corpus import Corpus
from hifitse.mixing.batch import step_indices
from hifitse.mixing.curriculum import settings_at, validation_settings
from hifitse.mixing.loader import TRAIN_PURPOSE, VALIDATION_PURPOSE, VALIDATION_SEED
from hifitse.mixing.rendering import render_index


def write_scenes(config: Config, corpus: Corpus, folder: Path, number: int, step: int | None) -> list[dict[str, Any]]:
    """Render scenes into ``folder/scene_NNNNN/``: mixture, reference and target, and the recipe as JSON.

    Args:
        number: how many scenes.
        step: the scenes from the first one of this training step on; None: those of the validation.

    Returns:
        The recipes, each with its folder.

    Raises:
        DataError: a recording cannot be read, or a file cannot be written.
    """
    if step is None:
        first, seed, purpose, pool = 0, VALIDATION_SEED, VALIDATION_PURPOSE, corpus.held_out
    else:
        first = step_indices(step, config.train.batch_size).start
        seed, purpose, pool = config.seed, TRAIN_PURPOSE, corpus.train
    recipes = []
    for index in range(first, first + number):
        settings = (
            validation_settings(config) if step is None else settings_at(config, index // config.train.batch_size)
        )
        scene, rendered = render_index(seed, purpose, index, settings, pool, config.audio, config.mixing)
        target = folder / f"scene_{index:05d}"
        target.mkdir(parents=True, exist_ok=True)
        for name in ("mixture", "reference", "target"):
            write_audio(target / f"{name}.wav", getattr(rendered, name), config.audio.sample_rate)
        recipe = {"folder": str(target), **asdict(scene)}
        (target / "recipe.json").write_text(json.dumps(recipe, indent=2, default=str) + "\n")
        recipes.append(recipe)
    return recipes
