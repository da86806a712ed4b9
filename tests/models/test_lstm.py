"""Which arithmetic reaches the LSTM kernel of every model under autocast."""

from typing import Any

import pytest
import torch

from hifitse.config.model import CompactConfig, GridConfig
from hifitse.models.build import build_model

MODELS = [
    CompactConfig(kind="compact", feature_dim=16, lstm_hidden=8),
    GridConfig(kind="grid", feature_dim=8, lstm_hidden=6, num_blocks=2, num_heads=2, reinject_at=()),
]


@pytest.mark.parametrize("config", MODELS, ids=lambda config: config.kind)
def test_lstms_get_float32_outside_autocast_and_their_gradient_is_float32(
    config: CompactConfig | GridConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel, seen = torch._VF.lstm, []

    def intercepted(features: torch.Tensor, states: Any, weights: Any, *rest: Any) -> Any:
        dtypes = {features.dtype, *(tensor.dtype for tensor in [*states, *weights])}
        # cuDNN's kernel is cast by autocast itself, below what can be seen from here: it must be off.
        seen.append((dtypes, torch.is_autocast_enabled(features.device.type)))
        return kernel(features, states, weights, *rest)

    monkeypatch.setattr(torch._VF, "lstm", intercepted)
    model = build_model(config, 48000).train()
    mixture, reference = 0.1 * torch.randn(2, 1, 24000)
    with torch.autocast("cpu", torch.bfloat16):
        estimate = model(mixture, reference)
    estimate.square().sum().backward()
    num_lstms = sum(isinstance(module, torch.nn.LSTM) for module in model.modules())
    assert len(seen) >= num_lstms > 0
    assert all(dtypes == {torch.float32} and not autocast for dtypes, autocast in seen)
    gradients = [parameter.grad for name, parameter in model.named_parameters() if "lstm" in name]
    assert all(gradient is not None and gradient.dtype == torch.float32 for gradient in gradients)
    assert any(gradient.abs().max() > 0 for gradient in gradients if gradient is not None)
