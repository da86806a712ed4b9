"""Which weights Muon updates, and that the optimizer is one thing to whoever uses it."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from hifitse.checkpoint.file import load_checkpoint
from hifitse.config.model import AttentionConfig, CompactConfig, GridConfig
from hifitse.config.schema import TrainConfig
from hifitse.models.build import build_model
from hifitse.optimizer import MOMENTS, build_optimizer, is_hidden
from hifitse.runs.run import Run
from tests.checkpoint.forging import forge
from tests.helpers import MUON, Cli

SMALL = CompactConfig(kind="compact", feature_dim=16, lstm_hidden=8, num_layers=1, embedding_dim=8, num_mels=16)


def train_config(**settings: Any) -> TrainConfig:
    return TrainConfig(**{"optimizer": {"kind": "muon"}, "total_steps": 10, "warmup_steps": 1} | settings)


@pytest.mark.parametrize(
    ("config", "hidden", "others"),
    [
        (
            SMALL,
            {"layers.0.lstm.weight_hh_l0", "layers.0.projection.weight", "voice.network.0.weight"},
            {"input.weight", "mask.weight", "layers.0.film.weight", "layers.0.projection.bias", "norm.weight"},
        ),
        (
            AttentionConfig(kind="attention"),
            {"layers.0.attention.query.weight", "layers.1.feed_forward.down.weight", "recall.merge.weight"},
            {"input.weight", "mask.weight", "layers.0.norm.film.weight", "norm.bias"},
        ),
        (
            GridConfig(kind="grid", feature_dim=8, lstm_hidden=8, num_blocks=1, reinject_at=()),
            {"gridnet.blocks.0.time_lstm.weight_ih_l0", "usef.cross_attn.in_proj_weight"},
            {"encoder.projections.0.weight", "decoder.projections.0.weight", "film.gamma_proj.weight"},
        ),
    ],
)
def test_hidden_are_the_matrices_between_features(config: Any, hidden: set[str], others: set[str]) -> None:
    found = {name: is_hidden(name, weight) for name, weight in build_model(config, 8000).named_parameters()}
    assert hidden | others <= found.keys()
    assert all(found[name] for name in hidden) and not any(found[name] for name in others)


def test_every_weight_is_updated_and_keeps_the_moments_of_its_algorithm() -> None:
    model = build_model(SMALL, 8000)
    optimizer = build_optimizer(model, train_config())
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    model(torch.randn(2, 2000), torch.randn(2, 2000)).square().mean().backward()
    optimizer.step()
    for name, weight in model.named_parameters():
        keys = MOMENTS["muon" if is_hidden(name, weight) else "adamw"]
        assert set(optimizer.state[weight]) == set(keys) == set(optimizer.moments_of(weight))
        assert not torch.equal(weight, before[name]), name
    optimizer.zero_grad()
    assert all(weight.grad is None for weight in model.parameters())


def test_an_update_of_muon_has_the_size_of_one_of_adamw() -> None:
    """So that one learning rate serves both (Liu et al. 2025: an RMS of about 0.2 times the rate)."""
    weight = torch.nn.Linear(64, 48, bias=False)
    optimizer = build_optimizer(torch.nn.ModuleDict({"layer": weight}), train_config(learning_rate=1e-2))
    before = weight.weight.detach().clone()
    weight.weight.grad = 1e4 * torch.randn(48, 64, generator=torch.Generator().manual_seed(0))
    optimizer.step()
    rms = (weight.weight.detach() - before).square().mean().sqrt()
    assert 0.1 * 1e-2 < rms < 0.3 * 1e-2


def test_older_configurations_say_what_is_of_adamw_beside_the_rate() -> None:
    old = TrainConfig.model_validate({"betas": (0.7, 0.9), "weight_decay": 0.3})
    assert old == TrainConfig.model_validate({"optimizer": {"kind": "adamw", "betas": (0.7, 0.9), "weight_decay": 0.3}})
    muon = TrainConfig.model_validate({"optimizer": {"kind": "muon", "momentum": 0.9}, "weight_decay": 0.3}).optimizer
    assert (muon.kind, muon.weight_decay, muon.betas) == ("muon", 0.3, (0.9, 0.98))


def test_another_optimizer_starts_with_fresh_moments_on_demand_only(cli: Cli, trained: Path) -> None:
    resume = ("resume", "--run", trained, "--from", 6, "--set", MUON, "--stop-at", 8)
    outcome = cli(*resume)
    assert outcome.code == 2 and "train.optimizer" in outcome.err and "--reset-optimizer" in outcome.err
    assert Run(trained).checkpoint_steps()[-1] == 12, "nothing has changed"
    assert cli(*resume, "--reset-optimizer").code == 0
    tensors = load_checkpoint(Run(trained).checkpoint_path(8)).tensors
    assert "optimizer/layers.0.projection.weight/momentum_buffer" in tensors
    assert "optimizer/layers.0.projection.bias/exp_avg" in tensors
    assert cli("resume", "--run", trained, "--stop-at", 9).code == 0


def test_a_checkpoint_with_the_settings_of_older_versions_goes_on(cli: Cli, trained: Path) -> None:
    """Their AdamW had its settings beside the learning rate."""
    path = Run(trained).checkpoint_path(6)

    def as_of_old(header: dict[str, Any], _: dict[str, torch.Tensor]) -> None:
        train = header["config"]["train"]
        settings = train.pop("optimizer")
        train |= {"betas": settings["betas"], "weight_decay": settings["weight_decay"]}

    expected = load_checkpoint(Run(trained).checkpoint_path(8)).tensors
    forge(path, as_of_old)
    text = Run(trained).config_path.read_text()
    older = re.sub(r"  optimizer:\n    kind: adamw\n((?:    .*\n)+)", lambda m: m[1].replace("    ", "  "), text)
    assert older != text and "\n  weight_decay: 0.01\n" in older
    Run(trained).config_path.write_text(older)
    outcome = cli("resume", "--run", trained, "--from", 6, "--stop-at", 8)
    assert outcome.code == 0, outcome.err
    tensors = load_checkpoint(Run(trained).checkpoint_path(8)).tensors
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in expected.items())
    assert "weight_decay" not in outcome.err, "nothing is said to have changed"
