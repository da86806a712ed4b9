"""Training and validation share one Objective, and one ta_weight: the failure hifitse was born from is gone."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

import hifitse
from hifitse.config.files import load_config
from hifitse.config.schema import Config
from hifitse.evaluation import validation
from hifitse.experiment import Experiment
from hifitse.losses import Objective
from hifitse.mixing.curriculum import phase_at
from hifitse.mixing.loader import validation_batches
from hifitse.training.state import new_state
from hifitse.training.step import train_step
from tests.helpers import TINY

CPU = torch.device("cpu")
STEP = 4
"""The first step of phase tp_ta."""


def losses(config: Config) -> tuple[float, float]:
    """Return the loss of one training step with TA scenes and the validation loss of the same weights."""
    experiment = Experiment.build(config, CPU)
    state = new_state(config, CPU)
    val_loss = validation.validate(state.ema, state.model, experiment, 0).metrics["val_loss"]
    state.step = STEP
    batches = experiment.training_batches(STEP, STEP + 1)
    return train_step(state, batches, experiment).loss, val_loss


def test_train_and_validate_call_the_very_same_object(monkeypatch: pytest.MonkeyPatch) -> None:
    used = []
    original = Objective.loss

    def spy(self: Objective, *arguments: Any, **named: Any) -> torch.Tensor:
        used.append(self)
        return original(self, *arguments, **named)

    monkeypatch.setattr(Objective, "loss", spy)
    config = load_config(TINY)
    losses(config)
    assert len(used) >= 3
    assert all(objective is used[0] for objective in used)
    assert used[0].config is config.loss


@pytest.mark.parametrize("ta_weight", [0.0, 0.3, 0.9])
def test_changing_ta_weight_changes_both_losses_by_the_formula(ta_weight: float) -> None:
    config = load_config(TINY, ["loss.amplitude_weight=0", "loss.phase_weight=0", f"loss.ta_weight={ta_weight}"])
    assert phase_at(config, STEP).absent_ratio > 0
    only_tp = losses(load_config(TINY, ["loss.amplitude_weight=0", "loss.phase_weight=0", "loss.ta_weight=0"]))
    almost_only_ta = losses(load_config(TINY, ["loss.amplitude_weight=0", "loss.phase_weight=0", "loss.ta_weight=0.5"]))
    for loss, tp, half in zip(losses(config), only_tp, almost_only_ta, strict=True):
        ta = 2 * half - tp
        assert loss == pytest.approx((1 - ta_weight) * tp + ta_weight * ta, rel=1e-4)


def test_validation_changes_nothing() -> None:
    config = load_config(TINY)
    experiment = Experiment.build(config, CPU)
    state = new_state(config, CPU)
    before = {name: tensor.clone() for name, tensor in state.model.state_dict().items()}
    random_state = torch.get_rng_state()
    validation.validate(state.ema, state.model, experiment, 0)
    assert state.model.training and not state.ema.training
    assert torch.equal(torch.get_rng_state(), random_state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in state.model.state_dict().items())
    assert all(parameter.grad is None for parameter in state.model.parameters())


def test_validation_is_the_same_for_every_seed_and_has_its_exact_share_of_ta_scenes() -> None:
    one, other = (load_config(TINY, [f"seed={seed}"]) for seed in (1, 2))
    validations = [list(validation_batches(c, Experiment.build(c, CPU).corpus.held_out)) for c in (one, other)]
    for a, b in zip(*validations, strict=True):
        assert torch.equal(a.mixture, b.mixture)
    assert sum(int((~batch.present).sum()) for batch in validations[0]) == 2


@pytest.mark.parametrize("micro_batch_size", [1, 2, 3])
def test_the_gradient_of_a_step_does_not_depend_on_the_micro_batches(micro_batch_size: int) -> None:
    def gradients(size: int) -> list[torch.Tensor]:
        config = load_config(TINY, [f"train.micro_batch_size={size}", "train.clip_norm=1e9"])
        experiment = Experiment.build(config, CPU)
        state = new_state(config, CPU)
        state.step = STEP
        train_step(state, experiment.training_batches(STEP, STEP + 1), experiment)
        return [parameter.grad for parameter in state.model.parameters() if parameter.grad is not None]

    for whole, parts in zip(gradients(4), gradients(micro_batch_size), strict=True):
        torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-5 * whole.abs().max().item())


def test_no_loss_weight_has_a_value_outside_config() -> None:
    package = Path(hifitse.__file__).parent
    pattern = re.compile(r"(?<![.\w])(ta_weight|amplitude_weight|phase_weight)\s*(:[^=\n]*)?=\s*[0-9]")
    found = [path.name for path in package.rglob("*.py") for _ in pattern.finditer(path.read_text())]
    assert found == ["schema.py"] * 3
