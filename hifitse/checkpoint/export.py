"""A trained model as others get it: one safetensors file with the EMA weights and what it takes to run them.

It is a checkpoint with less in it: the weights go by their own names, without the rest of the training, and of the
configuration there are the network and the sample rate, without anybody's folders. They may be float16, which takes
half the space; they are float32 again once they are loaded.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor, nn

from hifitse.checkpoint.file import Checkpoint, Header, load_checkpoint, save_checkpoint
from hifitse.checkpoint.weights import network_of
from hifitse.config import files
from hifitse.config.model import ModelConfig
from hifitse.config.schema import AudioConfig
from hifitse.errors import CheckpointError, UsageError, reason

BUNDLED_MODEL = "bundled"
"""What ``--model`` and ``--init`` call the model that comes with hifitse."""
_EITHER = "give what hifitse export wrote, or a checkpoint of a run"


class _Exported(BaseModel):
    """What an exported model needs of the configuration; a checkpoint has the rest, too."""

    model_config = ConfigDict(extra="ignore")

    audio: AudioConfig
    model: ModelConfig


@dataclass(frozen=True)
class TrainedModel:
    """All that an extraction needs."""

    network: nn.Module
    """In evaluation mode, on the CPU."""
    config: ModelConfig
    """Its settings."""
    sample_rate: int
    """In Hz."""
    step: int
    """Completed steps of the training that it comes from."""
    digest: str
    """Of the file that it was read from."""


def trained_model(checkpoint: Checkpoint) -> TrainedModel:
    """Return the EMA model of a training checkpoint.

    Raises:
        CheckpointError: it is an exported model, or of a network that this version does not know.
    """
    if not _is_training(checkpoint):
        raise CheckpointError("--from: an exported model, not a training checkpoint; hifitse extract --model takes it")
    return _build(checkpoint, "ema/")


def find_model(name: str | Path) -> Path:
    """Return the file that ``--model`` names: a path, or that of the model that comes with hifitse.

    Raises:
        UsageError: none came with it.
    """
    if str(name) != BUNDLED_MODEL:
        return Path(name)
    path = files.BUNDLED / "model" / "model.safetensors"
    if not path.is_file():
        raise UsageError(f"{path}: no model came with this hifitse; name a run with --run, or a file with --model FILE")
    return path


def export_model(checkpoint: Checkpoint, path: Path, *, half: bool = False) -> str:
    """Write the EMA model of a training checkpoint durably, and return the file's digest.

    Args:
        half: as float16, rounded.

    Raises:
        CheckpointError: as above, a weight is too large for float16, or the file could not be written.
    """
    trained_model(checkpoint)
    header, config = checkpoint.header, checkpoint.header.config
    reduced = Header(
        step=header.step,
        config={"audio": {"sample_rate": config["audio"]["sample_rate"]}, "model": config["model"]},
        data_fingerprint="",
        parent=checkpoint.digest,
    )
    weights = {
        name.removeprefix("ema/"): tensor for name, tensor in checkpoint.tensors.items() if name.startswith("ema/")
    }
    if half:
        weights = {name: tensor.half() for name, tensor in weights.items()}
        if large := [name for name, tensor in weights.items() if not tensor.isfinite().all()]:
            raise CheckpointError(f"{large[0]}: has weights beyond 65504, the largest of float16; leave out --half")
    return save_checkpoint(path, reduced, weights)


def load_exported(path: Path) -> TrainedModel:
    """Read an exported model and verify all of it.

    Raises:
        CheckpointError: the file is missing, damaged, or not an exported model.
    """
    checkpoint = _load(path, "--model takes what hifitse export wrote")
    if _is_training(checkpoint):
        raise CheckpointError(f"{path}: a training checkpoint, not an exported model; use --from {path}")
    try:
        return _build(checkpoint, "")
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error


def load_trained(path: Path) -> TrainedModel:
    """Read an exported model, or the EMA model of a training checkpoint, and verify all of it.

    Raises:
        CheckpointError: the file is missing, damaged, or neither of them.
    """
    checkpoint = _load(path, _EITHER)
    return trained_model(checkpoint) if _is_training(checkpoint) else _build(checkpoint, "")


@dataclass(frozen=True)
class Weights:
    """The weights in a file, and what they are of."""

    tensors: dict[str, Tensor]
    """EMA weights by the network's own names."""
    settings: dict[str, Any]
    """``audio.sample_rate`` and the section ``model`` of the configuration, as JSON."""
    step: int
    digest: str


def load_weights_of(path: Path) -> Weights:
    """Read the EMA weights of an exported model or a training checkpoint, and verify all of it.

    Raises:
        CheckpointError: the file is missing, damaged, neither of them, or of a network that this version does not know.
    """
    checkpoint = _load(path, _EITHER)
    prefix = "ema/" if _is_training(checkpoint) else ""
    tensors = {name.removeprefix(prefix): t for name, t in checkpoint.tensors.items() if name.startswith(prefix)}
    return Weights(tensors, network_settings(checkpoint.header), checkpoint.header.step, checkpoint.digest)


def network_settings(header: Header) -> dict[str, Any]:
    """Return ``audio.sample_rate`` and the section ``model`` of the configuration, as JSON: all that an export keeps.

    Raises:
        CheckpointError: this version does not know such a network.
    """
    return _settings(header).model_dump(mode="json", include={"audio": {"sample_rate"}, "model": True})


def _is_training(checkpoint: Checkpoint) -> bool:
    return any(name.startswith("ema/") for name in checkpoint.tensors)


def _load(path: Path, remedy: str) -> Checkpoint:
    """Read a checkpoint or an exported model; weights that are float16 there are float32 here."""
    try:
        checkpoint = load_checkpoint(path)
    except CheckpointError as error:
        # The remedy of a checkpoint in a run, an earlier one, is none here.
        raise CheckpointError(f"{str(error).partition('; resume from')[0]}; {remedy}") from error
    widened = {name: t.float() if t.dtype == torch.float16 else t for name, t in checkpoint.tensors.items()}
    return replace(checkpoint, tensors=widened)


def _build(checkpoint: Checkpoint, prefix: str) -> TrainedModel:
    config, step = _settings(checkpoint.header), checkpoint.header.step
    rate = config.audio.sample_rate
    network = network_of(checkpoint, prefix, config.model, rate)
    return TrainedModel(network, config.model, rate, step, checkpoint.digest)


def _settings(header: Header) -> _Exported:
    try:
        return _Exported.model_validate(header.config)
    except ValidationError as error:
        raise CheckpointError(
            f"the model of step {header.step} has a network that this hifitse does not know ({reason(error)}); use the "
            "version that it was trained with"
        ) from error
