"""Extraction from recordings of any length, rate and number, from Python."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hifitse.checkpoint.export import TrainedModel
from hifitse.config.model import CompactConfig
from hifitse.errors import DataError
from hifitse.inference import Extractor, extract

RATE = 1000


class PassThrough(nn.Module):
    """Returns the mixture, and remembers how long its inputs were."""

    def __init__(self) -> None:
        super().__init__()
        self.lengths: list[tuple[int, int]] = []

    def forward(self, mixture: Tensor, reference: Tensor) -> Tensor:
        assert mixture.ndim == reference.ndim == 2
        self.lengths.append((mixture.shape[-1], reference.shape[-1]))
        return mixture.clone()


class LevelOfReference(nn.Module):
    """Gives the mixture the level of the reference, each scene that of its own."""

    def forward(self, mixture: Tensor, reference: Tensor) -> Tensor:
        return mixture * reference.abs().amax(-1, keepdim=True)


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("seconds", [0.5, 10, 10.5, 19, 60])
def test_chunks_join_without_a_seam_and_bound_the_memory(seconds: float, batch_size: int) -> None:
    model = PassThrough()
    mixture = torch.randn(batch_size, round(seconds * RATE), generator=torch.Generator().manual_seed(0))
    estimate = extract(model, mixture, torch.ones(batch_size, 30 * RATE), RATE)
    torch.testing.assert_close(estimate, mixture, rtol=0, atol=1e-6)
    assert max(length for length, _ in model.lengths) <= 10 * RATE
    assert all(length == 10 * RATE for _, length in model.lengths)


@pytest.fixture
def extractor() -> Callable[[nn.Module], Extractor]:
    def make(network: nn.Module) -> Extractor:
        return Extractor(TrainedModel(network, CompactConfig(kind="compact"), RATE, 7, ""), torch.device("cpu"))

    return make


def test_an_extractor_returns_what_it_was_given_arrays_or_tensors_one_or_many(
    extractor: Callable[[nn.Module], Extractor],
) -> None:
    extract_voice = extractor(LevelOfReference())
    mixture = torch.rand(3, 2 * RATE, generator=torch.Generator().manual_seed(0))
    references = torch.tensor([1.0, 2.0, 3.0])[:, None].expand(3, RATE)
    for batch, voices, expected in (
        (mixture, references, mixture * references[:, :1]),
        (mixture, references[1], mixture * 2),
        (mixture[0], references[2], mixture[0] * 3),
    ):
        torch.testing.assert_close(extract_voice(batch, voices, RATE), expected)
        array = extract_voice(batch.numpy(), voices.numpy(), RATE)
        assert isinstance(array, np.ndarray)
        np.testing.assert_allclose(array, expected.numpy(), rtol=1e-6)
    assert (extract_voice.step, extract_voice.sample_rate) == (7, RATE)


def test_another_rate_is_resampled_there_and_back(extractor: Callable[[nn.Module], Extractor]) -> None:
    model = PassThrough()
    time = torch.arange(4411) / 2205
    mixture = torch.sin(2 * torch.pi * 100 * time)
    voice = extractor(model)(mixture, torch.ones(4410), 2205)
    assert model.lengths == [(2001, 2000)], "the model hears its own rate"
    assert voice.shape == mixture.shape
    torch.testing.assert_close(voice[200:-200], mixture[200:-200], rtol=0, atol=2e-3)


def test_waveforms_that_do_not_belong_together_or_are_too_short_are_refused(
    extractor: Callable[[nn.Module], Extractor],
) -> None:
    extract_voice, long = extractor(PassThrough()), torch.ones(3, RATE)
    for mixture, reference in ((long, long[:2]), (long[None], long), (long, long[None])):
        with pytest.raises(ValueError, match="do not belong together"):
            extract_voice(mixture, reference, RATE)
    with pytest.raises(DataError, match=r"the reference lasts 0\.050 s; give at least 0\.1 s"):
        extract_voice(long, torch.ones(50), RATE)
