"""From the tensors of a checkpoint to a network that runs, compared with each other before the network takes memory."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from hifitse.checkpoint.file import Checkpoint
from hifitse.config.model import ModelConfig
from hifitse.config.schema import Config
from hifitse.errors import CheckpointError
from hifitse.models.build import build_model
from hifitse.optimizer import MOMENTS

Shapes = Mapping[str, tuple[int, ...]]


class _EmptyIsMeta(TorchFunctionMode):
    """Weights, which begin as ``torch.empty``, have a shape and no memory; windows and filters are what they are."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.empty:
            kwargs["device"] = kwargs.get("device") or "meta"
        elif getattr(func, "__module__", None) == nn.init.__name__:
            # On weights without memory these would load seconds of symbolic mathematics.
            return kwargs.get("tensor", *args[:1])
        return func(*args, **kwargs)


def weightless_model(config: ModelConfig, sample_rate: int) -> nn.Module:
    """Return a network whose weights take no memory until they are assigned."""
    with _EmptyIsMeta():
        return build_model(config, sample_rate)


def expected_tensors(
    weights: Shapes, with_moments: Collection[str], of_muon: Collection[str] = ()
) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all tensors of a checkpoint whose network has these weights, some of them with moments.

    Args:
        with_moments: names of the weights with moments.
        of_muon: those of them whose moments are Muon's; the others are AdamW's.
    """
    expected = {f"{part}/{name}": shape for part in ("model", "ema") for name, shape in weights.items()}
    for name, shape in weights.items():
        if name in with_moments:
            keys = MOMENTS["muon" if name in of_muon else "adamw"]
            expected |= {f"optimizer/{name}/{key}": () if key == "step" else shape for key in keys}
    return expected


def is_average(checkpoint: Checkpoint) -> bool:
    """Tell whether it is a weight average: a checkpoint with EMA weights only."""
    parts = {name.partition("/")[0] for name in checkpoint.tensors}
    return parts == {"ema"}


def require_no_average(checkpoint: Checkpoint, source: str) -> None:
    """Raise CheckpointError if what a training is to go on from is a weight average."""
    if is_average(checkpoint):
        raise CheckpointError(
            f"--from {source}: an average of weights, which has no state to go on from; give one of its "
            "checkpoints with --from STEP, or begin a new run with its weights: hifitse train --init FILE"
        )


def require_state(checkpoint: Checkpoint, config: Config) -> None:
    """Raise CheckpointError unless the tensors are those of a training of the configured network.

    To be called before that network is built: what a file claims to hold may not fit into memory.
    """
    network = weightless_model(config.model, config.audio.sample_rate)
    shapes = {name: tuple(weight.shape) for name, weight in network.state_dict().items()}
    moments = (name.removeprefix("optimizer/") for name in checkpoint.tensors if name.startswith("optimizer/"))
    parts = [name.rpartition("/") for name in moments]
    of_muon = {name for name, _, key in parts if key in MOMENTS["muon"]}
    expected = expected_tensors(shapes, {name for name, _, _ in parts}, of_muon)
    _require(checkpoint, checkpoint.tensors, expected)


def load_weights(model: nn.Module, checkpoint: Checkpoint, prefix: str, *, assign: bool = False) -> None:
    """Load ``model/`` or ``ema/`` weights strictly.

    Args:
        assign: they become the model's as they are, instead of being copied into its own.

    Raises:
        CheckpointError: names, types or shapes do not fit the model, or a weight is not finite.
    """
    weights = {name.removeprefix(prefix): t for name, t in checkpoint.tensors.items() if name.startswith(prefix)}
    _require(checkpoint, weights, {name: tuple(t.shape) for name, t in model.state_dict().items()})
    if broken := [name for name, tensor in weights.items() if not tensor.isfinite().all()]:
        raise CheckpointError(
            f"the weights of step {checkpoint.header.step} are not all finite ({len(broken)} tensors, {broken[0]} "
            "first); use another checkpoint"
        )
    model.load_state_dict(weights, assign=assign)


def load_model(
    checkpoint: Checkpoint, config: Config, device: torch.device, part: Literal["ema", "model"]
) -> nn.Module:
    """Return a network with the EMA weights or the model weights of a checkpoint, in evaluation mode.

    The EMA weights are the ones that are selected and used; in the model weights a collapse shows first.

    Raises:
        CheckpointError: they do not fit the configured model.
    """
    return network_of(checkpoint, f"{part}/", config.model, config.audio.sample_rate).to(device)


def network_of(checkpoint: Checkpoint, prefix: str, config: ModelConfig, sample_rate: int) -> nn.Module:
    """Return the configured network with the weights of that prefix, in evaluation mode, on the CPU.

    Raises:
        CheckpointError: they do not fit it, or are not finite.
    """
    model = weightless_model(config, sample_rate)
    load_weights(model, checkpoint, prefix, assign=True)
    return model.eval().requires_grad_(False)


def _require(checkpoint: Checkpoint, tensors: Mapping[str, Tensor], expected: Shapes) -> None:
    wrong = [name for name, t in tensors.items() if expected.get(name) != tuple(t.shape) or t.dtype != torch.float32]
    wrong += [name for name in expected if name not in tensors]
    if wrong:
        raise CheckpointError(
            f"the checkpoint of step {checkpoint.header.step} does not fit the configured model "
            f"({len(wrong)} tensors differ, {wrong[0]} first); use the model section that it was trained with"
        )
