"""The attention model: its level is that of the mixture; chunk by chunk the causal one gives what it gives whole."""

import pytest
import torch
from torch import Tensor, nn

from hifitse.config.model import AttentionConfig, StftConfig
from hifitse.models.attention import AttentionModel
from hifitse.streaming import StreamingAttention

STFT = StftConfig(n_fft=128, window=128, hop=64)
SMALL = AttentionConfig(
    kind="attention", stft=STFT, feature_dim=16, hidden_dim=24, embedding_dim=8, num_mels=16, context_frames=20
)
CAUSAL = SMALL.model_copy(update={"causal": True, "context_frames": 7})


def noise(*shape: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def stirred(config: AttentionConfig) -> AttentionModel:
    """Return a model that is away from its pass-through start."""
    torch.manual_seed(0)
    model = AttentionModel(config, 8000)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model.eval()


@pytest.fixture(params=[SMALL, CAUSAL], ids=["plain", "causal"])
def model(request: pytest.FixtureRequest) -> nn.Module:
    return stirred(request.param)


@pytest.mark.parametrize("gain", [1e-3, 64.0])
def test_the_output_follows_the_gain_of_the_mixture_alone(model: nn.Module, gain: float) -> None:
    mixture, reference = noise(2, 2000), noise(2, 1500, seed=1)
    estimate = model(mixture, reference)
    torch.testing.assert_close(model(gain * mixture, reference), gain * estimate, rtol=1e-3, atol=gain * 1e-5)
    torch.testing.assert_close(model(mixture, gain * reference), estimate, rtol=1e-3, atol=1e-5)


def test_what_is_far_away_is_not_read() -> None:
    """Three layers reach 2 x 20 frames of 64 samples; so no distance is new in a recording that is longer."""
    model, mixture, reference = stirred(SMALL), noise(1, 12000), noise(1, 1500, seed=1)
    changed = mixture.clone()
    changed[:, 10000:] = -changed[:, 10000:].flip(-1)
    # The level is of all of it.
    changed *= (mixture.square().mean() / changed.square().mean()).sqrt()
    difference = (model(mixture, reference) - model(changed, reference)).abs()
    assert difference[:, : 10000 - 43 * 64].max() < 1e-6 < difference[:, 9000:10000].max()


@pytest.mark.parametrize("length", [1, 300, 3200, 5003, 5055])
@pytest.mark.parametrize("chunk", [1, 50, 64, 777])
def test_chunks_give_what_the_whole_gives(length: int, chunk: int) -> None:
    model, mixture = stirred(CAUSAL), noise(1, length)
    mixture[:, : length // 3] *= 0.01
    reference = noise(1, 1500, seed=1)
    with torch.no_grad():
        whole = model(mixture, reference)
    streaming = StreamingAttention(model, reference)
    parts = [streaming(mixture[:, start : start + chunk]) for start in range(0, length, chunk)]
    heard = torch.cat([*parts, streaming.finish()], dim=1)
    assert heard.shape == whole.shape
    torch.testing.assert_close(heard, whole, rtol=0, atol=1e-5)


def test_the_latency_is_what_it_is_said_to_be() -> None:
    model, mixture, reference = stirred(CAUSAL), noise(1, 4000), noise(1, 1500, seed=1)
    streaming = StreamingAttention(model, reference)
    assert streaming.latency_samples == 128
    received = given = 0
    for start in range(0, 4000, 10):
        received += 10
        given += streaming(mixture[:, start : start + 10]).shape[1]
        # Whole hops come out, so it may be one hop less one sample more.
        assert received - given <= streaming.latency_samples + 64 + 10
    assert received - given >= streaming.latency_samples - 64


def test_only_a_causal_model_can_stream() -> None:
    with pytest.raises(ValueError, match=r"model\.causal"):
        StreamingAttention(stirred(SMALL), noise(1, 1500))
