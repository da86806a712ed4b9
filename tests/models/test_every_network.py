"""What holds of every network, whatever it is made of."""

import pytest
import torch
from torch import Tensor, nn

from hifitse.config.model import AttentionConfig, BandAttentionConfig, CompactConfig, GridConfig, StftConfig
from hifitse.models.build import build_model

STFT = StftConfig(n_fft=256, window=256, hop=128)
ATTENTION = AttentionConfig(
    kind="attention", stft=STFT, feature_dim=16, hidden_dim=24, embedding_dim=8, num_mels=16, context_frames=20
)
NETWORKS = {
    "compact": CompactConfig(kind="compact", feature_dim=16, lstm_hidden=8, num_layers=2, embedding_dim=8, num_mels=24),
    "attention": ATTENTION,
    "attention with convolutions": ATTENTION.model_copy(update={"conv_channels": 4}),
    "causal attention": ATTENTION.model_copy(update={"causal": True, "context_frames": 7}),
    "band_attention": BandAttentionConfig(
        kind="band_attention", stft=STFT, num_bands=8, feature_dim=16, num_blocks=2, num_heads=2, hidden_dim=24
    ),
    "grid": GridConfig(
        kind="grid", stft=STFT, bands=8, feature_dim=8, lstm_hidden=6, num_blocks=2, num_heads=2, reinject_at=(0, 1)
    ),
}


def noise(*shape: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(params=NETWORKS)
def fresh(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    return build_model(NETWORKS[request.param], 16000).eval()


@pytest.fixture
def model(fresh: nn.Module) -> nn.Module:
    """A network that is away from its start as a pass-through."""
    with torch.no_grad():
        for parameter in fresh.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return fresh


def test_starts_near_a_pass_through(fresh: nn.Module) -> None:
    mixture = noise(2, 4000)
    estimate = fresh(mixture, noise(2, 3000, seed=1))
    assert (estimate - mixture).norm() < 0.3 * mixture.norm()


@pytest.mark.parametrize("length", [1, 800, 2303, 4223, 4224])
@pytest.mark.parametrize("reference_length", [1, 801, 5000])
def test_any_lengths(model: nn.Module, length: int, reference_length: int) -> None:
    estimate = model(noise(2, length), noise(2, reference_length, seed=1))
    assert estimate.shape == (2, length)
    assert estimate.dtype == torch.float32
    assert estimate.isfinite().all()


def test_samples_do_not_see_each_other(model: nn.Module) -> None:
    mixture, reference = noise(3, 2000), noise(3, 1500, seed=1)
    reference[1] = 0
    alone = torch.cat([model(mixture[i : i + 1], reference[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(model(mixture, reference), alone, rtol=1e-4, atol=1e-5)


def test_the_reference_matters_and_silence_is_none(model: nn.Module) -> None:
    mixture = noise(1, 2000)
    without = model(mixture, torch.zeros(1, 1500))
    assert without.isfinite().all()
    assert (model(mixture, noise(1, 1500, seed=1)) - without).abs().max() > 1e-4
    torch.testing.assert_close(model(mixture, torch.zeros(1, 900)), without, rtol=1e-4, atol=1e-5)


def test_gradients_are_finite_even_from_silence(model: nn.Module) -> None:
    mixture, reference = noise(3, 2000), noise(3, 1500, seed=1)
    mixture[1], reference[2] = 0, 0
    model.train()(mixture, reference).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in model.parameters())


def test_bfloat16_autocast_is_close_and_gives_float32(model: nn.Module) -> None:
    mixture, reference = noise(2, 2000), noise(2, 1500, seed=1)
    with torch.autocast("cpu", torch.bfloat16):
        estimate = model(mixture, reference)
    exact = model(mixture, reference)
    assert estimate.dtype == torch.float32
    assert (estimate - exact).norm() < 0.05 * exact.norm()
