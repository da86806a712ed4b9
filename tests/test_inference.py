import pytest
import torch
from torch import Tensor, nn

from hifitse.inference import extract


class PassThrough(nn.Module):
    """Returns the mixture, and remembers how long its inputs were."""

    def __init__(self) -> None:
        super().__init__()
        self.lengths: list[tuple[int, int]] = []

    def forward(self, mixture: Tensor, reference: Tensor) -> Tensor:
        self.lengths.append((mixture.shape[-1], reference.shape[-1]))
        return mixture.clone()


@pytest.mark.parametrize("seconds", [0.5, 10, 10.5, 19, 60])
def test_chunks_join_without_a_seam_and_bound_the_memory(seconds: float) -> None:
    rate, model = 1000, PassThrough()
    mixture = torch.randn(round(seconds * rate), generator=torch.Generator().manual_seed(0))
    estimate = extract(model, mixture, torch.ones(30 * rate), rate)
    torch.testing.assert_close(estimate, mixture, rtol=0, atol=1e-6)
    assert max(length for length, _ in model.lengths) <= 10 * rate
    assert all(length == 10 * rate for _, length in model.lengths)
