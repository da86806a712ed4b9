"""Reads a training checkpoint of the original script, whatever is in it; `original_convert` says what must be.

The file is a pickle, but only torch's restricted unpickler reads it. That one builds tensors and plain values, and
refuses everything that could run code. Nothing is said of what it built but its types: lists that hold each other
could be written out for ever.
"""

import hashlib
import pickle
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hifitse.config.section import MAX_STEP
from hifitse.errors import CheckpointError
from hifitse.storage import opened

_MOST_PARAMETERS = 10**6

Weights = dict[str, Any]
"""By name; tensors, if the file is sound."""


@dataclass(frozen=True)
class AdamW:
    """The optimizer's state, and the settings that the original would have gone on with."""

    moments: dict[int, Weights]
    """By the position of the parameter."""
    learning_rate: float
    """Of the last update."""
    peak_learning_rate: float
    betas: tuple[float, ...]
    weight_decay: float


@dataclass(frozen=True)
class Original:
    """What hifitse takes from a checkpoint of the original script."""

    path: Path
    digest: str
    """SHA-256 of the file, as `sha256sum` prints it."""
    step: int
    """Micro-batches done; the original updates the weights after every 32nd."""
    weights: Weights
    ema: Weights
    """EMA weights, by the names of the model weights."""
    adamw: AdamW | None
    """None if the file has no moments."""


def read_original(path: Path) -> Original:
    """Read a checkpoint file of the original script.

    Raises:
        CheckpointError: the file is missing, damaged, something else, or would run code.
    """
    if path.is_dir():
        raise CheckpointError(f"{path}: a folder; name the .pt file inside it")
    try:
        with opened(path) as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from None
    _check_archive(path)
    content = _load(path)
    if missing := [key for key in ("step", "generator", "ema_generator") if key not in content]:
        names = [key for key in content if isinstance(key, str)]
        raise _foreign(path, f"no {', '.join(missing)} in it, but {', '.join(names[:6]) or 'nothing'}")
    step, weights, ema = content["step"], content["generator"], content["ema_generator"]
    if type(step) is not int or not 0 <= step <= MAX_STEP:
        raise _foreign(path, f"its step is {'out of range' if type(step) is int else f'a {type(step).__name__}'}")
    for part in (weights, ema):
        if not isinstance(part, dict) or not all(isinstance(name, str) for name in part):
            raise _foreign(path, "its generator or ema_generator has no tensors by name")
    ema_weights = {name.removeprefix("module."): value for name, value in ema.items() if name != "n_averaged"}
    return Original(path, digest, step, dict(weights), ema_weights, _adamw(path, content.get("opt_G")))


def _check_archive(path: Path) -> None:
    """Verify the checksums in the archive, which torch.load does not look at."""
    with path.open("rb") as file:
        if file.read(4) != b"PK\x03\x04":
            raise _foreign(path, "torch.save did not write it")
    try:
        with zipfile.ZipFile(path) as archive:
            is_saved = any(name.endswith("/data.pkl") for name in archive.namelist())
            # torch.save does not compress, so nothing in its archives becomes larger than they are.
            is_saved &= all(info.compress_type == zipfile.ZIP_STORED for info in archive.infolist())
            damaged = archive.testzip() if is_saved else None
    except Exception:  # A damaged archive raises far more than BadZipFile.
        raise CheckpointError(f"{path}: damaged or cut short; copy it again") from None
    if not is_saved:
        raise _foreign(path, "a zip archive that torch.save did not write")
    if damaged:
        raise CheckpointError(f"{path}: damaged (wrong checksum of {damaged}); copy it again")


def _load(path: Path) -> dict[Any, Any]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise CheckpointError(
            f"{path}: refused: it holds more than tensors and plain values ({_forbidden(path)}) and could run code"
        ) from None
    except Exception as error:  # Nor is it known what a foreign archive makes torch raise.
        raise _foreign(path, str(error).partition("\n")[0]) from None
    if not isinstance(content, dict):
        raise _foreign(path, f"it holds a {type(content).__name__}")
    return content


def _forbidden(path: Path) -> str:
    try:
        return ", ".join(torch.serialization.get_unsafe_globals_in_checkpoint(path)) or "unknown"
    except Exception:  # It is the same foreign pickle.
        return "unknown"


def _adamw(path: Path, saved: Any) -> AdamW | None:
    if isinstance(saved, dict | None) and not saved:
        return None
    try:
        # Parameters are numbered over all groups.
        groups = saved["param_groups"]
        if sum(len(group["params"]) for group in groups) > _MOST_PARAMETERS:
            raise ValueError
        numbers = [number for group in groups for number in group["params"]]
        state, group = saved["state"], groups[0]
        moments = {position: dict(state[number]) for position, number in enumerate(numbers) if number in state}
        rate, betas, decay = float(group["lr"]), tuple(map(float, group["betas"][:2])), float(group["weight_decay"])
        peak = float(group.get("initial_lr", rate))
    except (AttributeError, KeyError, IndexError, RuntimeError, TypeError, ValueError):
        raise _foreign(path, "its opt_G is no state of AdamW") from None
    return AdamW(moments, rate, peak, betas, decay) if moments else None


def _foreign(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(f"{path}: not a training checkpoint of the original script: {reason}")
