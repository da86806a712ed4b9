"""From the tensors of a checkpoint to a network that runs."""

from typing import Literal

import torch
from torch import nn

from hifitse.checkpoint.file import Checkpoint
from hifitse.config.schema import Config
from hifitse.errors import CheckpointError
from hifitse.models.build import build_model


def load_weights(model: nn.Module, checkpoint: Checkpoint, prefix: str) -> None:
    """Load ``model/`` or ``ema/`` weights strictly.

    Raises:
        CheckpointError: names or shapes do not fit the model.
    """
    weights = {name.removeprefix(prefix): t for name, t in checkpoint.tensors.items() if name.startswith(prefix)}
    expected = {name: tuple(t.shape) for name, t in model.state_dict().items()}
    wrong = [name for name, t in weights.items() if expected.get(name) != tuple(t.shape)]
    wrong += [name for name in expected if name not in weights]
    if wrong:
        raise CheckpointError(
            f"the checkpoint of step {checkpoint.header.step} does not fit the configured model "
            f"({len(wrong)} tensors differ, {wrong[0]} first); use the model section that it was trained with"
        )
    model.load_state_dict(weights)


def load_model(
    checkpoint: Checkpoint, config: Config, device: torch.device, part: Literal["ema", "model"]
) -> nn.Module:
    """Return a network with the EMA weights or the model weights of a checkpoint, in evaluation mode.

    The EMA weights are the ones that are selected and used; in the model weights a collapse shows first.

    Raises:
        CheckpointError: they do not fit the configured model.
    """
    model = build_model(config.model, config.audio.sample_rate)
    load_weights(model, checkpoint, f"{part}/")
    return model.to(device).eval().requires_grad_(False)
