"""Results on other scenes are never compared: what changes the sound of the validation scenes changes their digest."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from hifitse.config.schema import Config
from hifitse.evaluation import validation
from hifitse.experiment import Experiment
from tests.helpers import SPEECH, make_strangers


def test_the_digest_knows_the_recipe_the_channel_and_the_target(
    make_config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    def digest(**sections: object) -> str:
        return validation.scenes_digest(Experiment.build(make_config(**sections), torch.device("cpu")))

    found = [
        digest(),
        digest(data={"channel": 1}),
        digest(mixing={"target": "dry"}),
        digest(mixing={"level_db": (-9, -8)}),
    ]
    assert digest(data={"num_workers": 3}, seed=5, validation={"num_train_scenes": 7}) == found[0]
    monkeypatch.setattr(validation, "RECIPE_VERSION", validation.RECIPE_VERSION + 1)
    assert len({*found, digest()}) == 5


def test_the_test_has_a_digest_of_its_own(make_config: Callable[..., Config], tmp_path: Path) -> None:
    strangers = make_strangers(tmp_path / "strangers")

    def digest(of_test: bool, **test: object) -> str:
        config = make_config(test={"speech": strangers, **test})
        return validation.scenes_digest(Experiment.build(config, torch.device("cpu")), of_test)

    found = {digest(True), digest(True, num_scenes=50), digest(True, absent_ratio=0.3), digest(True, noise=SPEECH)}
    assert len(found) == 4 and digest(True) in found
    assert digest(False) == digest(False, num_scenes=50) and digest(False) not in found
