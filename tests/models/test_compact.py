"""The compact model keeps the interface of all models."""

import pytest
import torch
from torch import Tensor, nn

from hifitse.config.model import CompactConfig
from hifitse.models.build import build_model

CONFIG = CompactConfig(kind="compact", feature_dim=16, lstm_hidden=8, num_layers=2, embedding_dim=8, num_mels=24)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return build_model(CONFIG, 8000).eval()


def test_starts_near_a_pass_through(model: nn.Module) -> None:
    mixture = noise(2, 4000)
    estimate = model(mixture, noise(2, 3000, seed=1))
    assert (estimate - mixture).norm() < 0.3 * mixture.norm()


@pytest.mark.parametrize("length", [1, 800, 2303, 4223])
@pytest.mark.parametrize("reference_length", [1, 5000])
def test_any_lengths(model: nn.Module, length: int, reference_length: int) -> None:
    estimate = model(noise(2, length), noise(2, reference_length, seed=1))
    assert estimate.shape == (2, length)
    assert estimate.dtype == torch.float32
    assert estimate.isfinite().all()


def test_samples_do_not_see_each_other(model: nn.Module) -> None:
    mixture, reference = noise(3, 2000), noise(3, 1500, seed=1)
    reference[1] = 0
    alone = torch.cat([model(mixture[i : i + 1], reference[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(model(mixture, reference), alone, rtol=0, atol=1e-5)


def test_the_reference_matters_and_silence_is_none(model: nn.Module) -> None:
    mixture = noise(1, 2000)
    with_reference = model(mixture, noise(1, 1500, seed=1))
    without = model(mixture, torch.zeros(1, 1500))
    assert (with_reference - without).abs().max() > 0
    torch.testing.assert_close(model(mixture, torch.zeros(1, 900)), without, rtol=0, atol=0)


def test_every_weight_learns_even_from_silence(model: nn.Module) -> None:
    model.train()
    mixture = noise(2, 2000)
    mixture[1] = 0
    model(mixture, noise(2, 1500, seed=1)).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_bfloat16_autocast_is_close_and_gives_float32(model: nn.Module) -> None:
    mixture, reference = noise(2, 2000), noise(2, 1500, seed=1)
    with torch.autocast("cpu", torch.bfloat16):
        estimate = model(mixture, reference)
    exact = model(mixture, reference)
    assert estimate.dtype == torch.float32
    assert (estimate - exact).norm() < 0.05 * exact.norm()
