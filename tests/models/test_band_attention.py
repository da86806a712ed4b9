"""The band attention model follows the gain of the mixture alone, and torch.compile captures it whole."""

import pytest
import torch
from torch import Tensor, nn

from hifitse.config.model import BandAttentionConfig, StftConfig
from hifitse.models.band_attention import BandAttentionModel
from hifitse.models.build import build_model, num_parameters

SMALL = BandAttentionConfig(
    kind="band_attention",
    stft=StftConfig(n_fft=256, window=256, hop=128),
    num_bands=8,
    feature_dim=16,
    num_blocks=2,
    num_heads=2,
    hidden_dim=24,
)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def stirred(config: BandAttentionConfig = SMALL) -> BandAttentionModel:
    """Return a model that is away from its pass-through start."""
    torch.manual_seed(0)
    model = BandAttentionModel(config, 16000)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model.eval()


@pytest.fixture
def model() -> nn.Module:
    return stirred()


def test_the_full_size() -> None:
    model = build_model(BandAttentionConfig(kind="band_attention"), 48000)
    assert 12e6 < num_parameters(model) < 14e6
    assert abs(BandAttentionConfig(kind="band_attention").num_weights / num_parameters(model) - 1) < 0.1


def test_starts_as_a_pass_through() -> None:
    mixture = noise(2, 4000)
    estimate = build_model(SMALL, 16000)(mixture, noise(2, 3000, seed=1))
    torch.testing.assert_close(estimate, mixture, rtol=0, atol=2e-3)


@pytest.mark.parametrize("gain", [1e-2, 64.0])
def test_the_output_follows_the_gain_of_the_mixture_alone(model: nn.Module, gain: float) -> None:
    mixture, reference = noise(2, 2000), noise(2, 1500, seed=1)
    estimate = model(mixture, reference)
    torch.testing.assert_close(model(gain * mixture, reference), gain * estimate, rtol=1e-3, atol=gain * 1e-4)
    torch.testing.assert_close(model(mixture, gain * reference), estimate, rtol=1e-3, atol=1e-4)
    assert not model(torch.zeros(1, 2000), reference[:1]).any()


def test_activation_checkpointing_changes_no_gradient() -> None:
    gradients = []
    for recompute in (False, True):
        model = stirred(SMALL.model_copy(update={"activation_checkpointing": recompute})).train()
        model(noise(2, 2000), noise(2, 1500, seed=1)).square().mean().backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    for plain, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(recomputed, plain, rtol=0, atol=0)


@pytest.mark.parametrize("recompute", [False, True])
def test_it_is_captured_whole(recompute: bool) -> None:
    model = stirred(SMALL.model_copy(update={"activation_checkpointing": recompute})).train()
    mixture, reference = noise(2, 2048), noise(2, 1536, seed=1)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(mixture, reference), model(mixture, reference), rtol=0, atol=0)
