"""From a checkpoint of the original script to one of ours: every tensor by name, or a list of all that do not fit."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hifitse.checkpoint.file import Header
from hifitse.checkpoint.original_file import Original
from hifitse.checkpoint.original_network import Shapes, differences, sizes
from hifitse.checkpoint.weights import expected_tensors, weightless_model
from hifitse.config.files import to_recorded
from hifitse.config.model import GridConfig
from hifitse.config.schema import Config
from hifitse.errors import CheckpointError, ConfigError
from hifitse.models.build import num_parameters
from hifitse.schedule import learning_rate

_FLOATS = (torch.float32, torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class Converted:
    """A checkpoint of ours, ready to be saved."""

    header: Header
    tensors: dict[str, Tensor]
    notes: list[str]
    """What a person should know about how it was made."""
    num_parameters: int


def as_original(config: Config) -> Config:
    """Return the configuration with what the original's network does not know, and its weights cannot tell, off."""
    if not isinstance(config.model, GridConfig):
        return config
    return config.model_copy(update={"model": config.model.model_copy(update={"normalize_level": False})})


def convert(original: Original, config: Config) -> Converted:
    """Return the original's state as a checkpoint under this configuration.

    Raises:
        ConfigError: the configured network is not the one in the file; the message has a line for each setting.
        CheckpointError: tensors are missing, unknown, misshapen or not finite; the message has a line for each.
    """
    _check_network(original, config)
    model = weightless_model(config.model, config.audio.sample_rate)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    # AdamW numbers parameters in the order in which the weights were saved.
    order = list(original.weights if original.weights.keys() == shapes.keys() else shapes)
    adamw = original.adamw if config.train.optimizer.kind == "adamw" else None
    tensors = _by_our_names(replace(original, adamw=adamw), order)
    if problems := _problems(tensors, expected_tensors(shapes, shapes if adamw else ())):
        raise CheckpointError(
            f"{original.path}: {len(problems)} tensors cannot be imported, so nothing was:\n  " + "\n  ".join(problems)
        )
    header = Header(
        step=original.step,
        config=to_recorded(config),
        data_fingerprint="",
        parent=original.digest,
        # Without its moments AdamW starts afresh, as after --reset-optimizer.
        optimizer_reset_step=0 if adamw else original.step,
    )
    notes = [*_conversion_notes(tensors), *_adamw_notes(original, config), _settings_note(config)]
    converted = {name: tensor.detach().to(torch.float32) for name, tensor in tensors.items()}
    return Converted(header, _separate(converted), notes, num_parameters(model))


def _check_network(original: Original, config: Config) -> None:
    found = sizes({name: tuple(t.shape) for name, t in original.weights.items() if isinstance(t, Tensor)})
    if found is None:
        some = ", ".join(list(original.weights)[:3]) or "no tensors"
        raise CheckpointError(f"{original.path}: weights of another architecture ({some}, ...); only HiFi-TSE's fit")
    if lines := differences(config.model, found):
        raise ConfigError(
            f"{original.path}: its network is not the configured one; override these settings, and check the number of "
            "heads and the STFT, which the file does not tell:\n  " + "\n  ".join(lines)
        )


def _by_our_names(original: Original, order: list[str]) -> dict[str, Any]:
    tensors = {f"model/{name}": value for name, value in original.weights.items()}
    tensors |= {f"ema/{name}": value for name, value in original.ema.items()}
    for position, moments in (original.adamw.moments if original.adamw else {}).items():
        name = order[position] if position < len(order) else f"parameter {position}"
        tensors |= {f"optimizer/{name}/{key}": value for key, value in moments.items()}
    return tensors


def _problems(tensors: Mapping[str, Any], expected: Shapes) -> list[str]:
    """Return a line for every tensor that is not as it must be."""
    found = {name: _problem(tensors.get(name), shape) for name, shape in expected.items()}
    found |= {name: "unknown" for name in tensors if name not in expected}
    return [f"{name}: {problem}" for name, problem in found.items() if problem]


def _problem(value: Any, shape: tuple[int, ...]) -> str | None:
    if value is None:
        return "missing"
    if not isinstance(value, Tensor) or value.layout != torch.strided:
        return f"a {type(value).__name__}, should be a dense tensor"
    if value.shape != shape:
        return f"shape {tuple(value.shape)}, should be {shape}"
    if value.dtype not in _FLOATS:
        return f"{_name(value.dtype)}, should be float32"
    # By numpy: for thousands of small tensors, torch's threads mostly wait for each other.
    return None if np.isfinite(value.detach().float().numpy()).all() else "not finite"


def _separate(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors in memory of their own: saved on a GPU, the weights of an LSTM are parts of one buffer."""
    seen = set()
    result = {}
    for name, tensor in tensors.items():
        shares = tensor.data_ptr() in seen or tensor.untyped_storage().nbytes() != tensor.nbytes
        seen.add(tensor.data_ptr())
        result[name] = tensor.clone() if shares else tensor
    return result


def _conversion_notes(tensors: Mapping[str, Tensor]) -> list[str]:
    counts = Counter(_name(tensor.dtype) for tensor in tensors.values())
    return [
        f"{count} of its {len(tensors)} tensors are {dtype}; stored as float32 now, their values unchanged"
        for dtype, count in counts.items()
        if dtype != "float32"
    ]


def _adamw_notes(original: Original, config: Config) -> list[str]:
    """Say where AdamW goes on otherwise than it did; the settings are the configuration's, never the file's."""
    train, saved, step = config.train, original.adamw, original.step
    if saved is None or train.optimizer.kind != "adamw":
        missing = "no AdamW moments in the file" if saved is None else "AdamW moments are of no use to Muon"
        return [
            f"{missing}: a resume starts with fresh ones, and the learning rate rises to its place "
            f"over train.rewarmup_steps={train.rewarmup_steps} steps"
        ]
    both = {
        "train.learning_rate": (saved.peak_learning_rate, train.learning_rate),
        "train.optimizer.betas": (saved.betas, train.optimizer.betas),
        "train.optimizer.weight_decay": (saved.weight_decay, train.optimizer.weight_decay),
        f"learning rate at step {step}": (saved.learning_rate, learning_rate(train, step)),
    }
    return [
        f"{name}: {_text(here)} as configured, not {_text(there)} as in the file"
        for name, (there, here) in both.items()
        if there != here
    ]


def _settings_note(config: Config) -> str:
    model = config.model
    assert isinstance(model, GridConfig), "the networks have been compared"
    stft = model.stft
    return (
        "the file does not tell audio.sample_rate, model.num_heads and model.stft; make sure that they were "
        f"{config.audio.sample_rate} Hz, {model.num_heads} heads, and n_fft {stft.n_fft}, window {stft.window}, "
        f"hop {stft.hop}, as configured"
    )


def _text(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
