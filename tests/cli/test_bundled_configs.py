"""The configurations in configs/ say what they are said to be."""

from pathlib import Path

import pytest
import torch

from hifitse.config.files import load_config
from hifitse.experiment import Experiment
from hifitse.mixing.curriculum import phase_at
from hifitse.models.build import build_model, num_parameters

CONFIGS = Path(__file__).parents[2] / "configs"
RECIPES = {"libri2mix", "fullband_48k"}
"""They need corpora; tests/cli/test_recipes.py makes them some."""


@pytest.mark.parametrize(
    "path", sorted(p for p in CONFIGS.glob("*.yaml") if p.stem not in RECIPES), ids=lambda path: path.stem
)
def test_every_config_finds_its_corpus_and_fills_its_validation(path: Path) -> None:
    experiment = Experiment.build(load_config(path), torch.device("cpu"))
    assert len(experiment.corpus.train.speakers) >= 2
    assert len(experiment.corpus.held_out.speakers) >= 2


def test_the_full_size_system_is_the_original_one() -> None:
    config = load_config(CONFIGS / "hifi_tse.yaml")
    assert config.audio.sample_rate == 48000
    assert num_parameters(build_model(config.model, config.audio.sample_rate)) == 11_785_196
    assert [phase_at(config, step).name for step in (0, 199_999, 200_000)] == ["tp", "tp", "tp_ta"]
    assert (config.curriculum[1].absent_ratio, config.loss.ta_weight, config.loss.absent.target_db) == (0.2, 0.1, -30)
    assert config.train.validate_every == config.train.checkpoint_every == 5000
