"""The table of networks for a GPU, as far as it goes on a CPU."""

import torch
from torch import nn

from benchmarks.gpu_models import NETWORKS, forward_flops, line, measure


def test_a_row_is_measured_and_told() -> None:
    row = measure("attention", 2, "cpu", compiled=False, rounds=1, seconds=0.3)
    assert row["seconds"] > 0 and row["tflops"] > 0
    told = line({"network": "attention", "micro_batch": 2, "compiled": False, **row})
    assert told.startswith("| attention | 2 | no | ") and told.count("|") == 8
    failed = line({"network": "grid", "micro_batch": 32, "compiled": True, "error": "CUDA out of memory"})
    assert "CUDA out of memory" in failed and failed.count("|") == 8


def test_arithmetic_is_counted_lstms_too() -> None:
    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(8, 16, batch_first=True, bidirectional=True)
            self.linear = nn.Linear(32, 4)

        def forward(self, mixture: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
            return self.linear(self.lstm(mixture)[0])

    # Ten frames of three scenes: four gates of 16 in both directions from 8 inputs and 16 states, then 32 to 4.
    expected = 2 * 30 * (2 * 4 * 16 * (8 + 16) + 32 * 4)
    assert forward_flops(Network(), torch.randn(3, 10, 8), torch.zeros(0)) == expected


def test_every_network_is_in_the_table() -> None:
    assert {config.kind for config in NETWORKS.values()} == {"band_attention", "attention", "compact", "grid"}
