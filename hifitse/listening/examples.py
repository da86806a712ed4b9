"""Scenes to begin with: of a validation, mixed again from the corpora."""

from dataclasses import dataclass
from pathlib import Path

from hifitse.config.schema import Config
from hifitse.corpus.corpus import load_corpus
from hifitse.corpus.scan import Progress
from hifitse.mixing.preview import write_scenes

_NUM_SCENES = 5


@dataclass(frozen=True)
class Example:
    """A mixture with a reference."""

    label: str
    mixture: Path
    reference: Path


def write_examples(config: Config, folder: Path, progress: Progress) -> list[Example]:
    """Write the first scenes of a validation below a folder.

    Raises:
        HifitseError: the corpora are not here, or a recording cannot be read.
    """
    recipes = write_scenes(config, load_corpus(config, progress), folder, _NUM_SCENES, None)
    return [
        Example(
            f"scene {index}: {recipe['speaker']} {'speaks' if recipe['present'] else 'is absent'}",
            Path(recipe["folder"]) / "mixture.wav",
            Path(recipe["folder"]) / "reference.wav",
        )
        for index, recipe in enumerate(recipes)
    ]
