"""A checkpoint is one safetensors file: tensors, and JSON about them in the file's metadata.

Saving is durable: sibling temporary file, fsync, read back and verified, renamed, directory fsynced.
Loading verifies a digest of every tensor and of the JSON itself, and that a file named after a step holds that step:
truncation, bit flips and exchanged files are found.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import safetensors
import safetensors.torch
import torch
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, model_validator
from pydantic.dataclasses import dataclass
from pydantic_core import from_json

from hifitse import storage
from hifitse.checkpoint.tensors import Index, read_index, read_tensors
from hifitse.config.section import MAX_STEP
from hifitse.errors import CheckpointError, reason

FORMAT_VERSION = 1
SPARE_BYTES = 2**24
"""What a save leaves free on the disk: logs and validation results need some, too."""


Count = Annotated[int, Field(ge=0, le=MAX_STEP, strict=True)]
Finite = Annotated[float, Field(allow_inf_nan=False, strict=True)]


class _Watch(BaseModel):
    """What `hifitse.training.gradient_guard` keeps in a checkpoint."""

    model_config = ConfigDict(extra="forbid")

    norms: list[Finite] = []
    num_non_finite: Count = 0
    num_spikes: Count = 0
    median: Finite | None = None


class _Window(BaseModel):
    """What `hifitse.training.window` keeps in a checkpoint."""

    model_config = ConfigDict(extra="forbid")

    num_steps: Count = 0
    sums: dict[str, Finite] = {}
    counts: dict[str, Annotated[int, Field(ge=1, le=MAX_STEP, strict=True)]] = {}

    @model_validator(mode="after")
    def _fit(self) -> "_Window":
        if self.sums.keys() != self.counts.keys() or max(self.counts.values(), default=0) > self.num_steps:
            raise ValueError("the sums are not those of so many steps")
        return self


def _as_watch(data: dict[str, Any]) -> dict[str, Any]:
    _Watch.model_validate(data)
    return data


def _as_window(data: dict[str, Any]) -> dict[str, Any]:
    _Window.model_validate(data)
    return data


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Header:
    """What a checkpoint says about itself, next to its tensors."""

    step: Count
    """Completed steps."""
    config: dict[str, Any]
    """The whole configuration, as data."""
    data_fingerprint: str
    """Digest of the corpus that it was trained on."""
    parent: str | None = None
    """Digest of the checkpoint that this training was resumed from."""
    optimizer_reset_step: Count = 0
    """Step at which the optimizer last started with fresh moments."""
    watch: Annotated[dict[str, Any], AfterValidator(_as_watch)] = dataclasses.field(default_factory=dict)
    """The recent gradient norms, see `hifitse.training.gradient_guard`."""
    window: Annotated[dict[str, Any], AfterValidator(_as_window)] = dataclasses.field(default_factory=dict)
    """Sums over the steps since the last row of the metrics log, see `hifitse.training.window`."""
    num_rollbacks: Count = 0
    """How often a guard has rolled this branch back."""
    learning_rate_factor: Annotated[float, Field(gt=0, le=1)] = 1.0
    """What those rollbacks have cut the learning rate to."""
    environment: dict[str, Any] = dataclasses.field(default_factory=dict)
    """What it was trained with: version of torch, device, ranks, threads. A resume is exact only with the same."""
    format_version: int = FORMAT_VERSION
    digests: dict[str, str] = dataclasses.field(default_factory=dict)
    """Digest of each tensor, by name; filled in by `save`."""


_HEADER = TypeAdapter(Header)


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    header: Header
    tensors: dict[str, torch.Tensor]
    """``model/...``, ``ema/...`` and ``optimizer/...`` tensors, on the CPU."""
    digest: str
    """Digest of the header, and with it of everything."""


def save_checkpoint(path: Path, header: Header, tensors: dict[str, torch.Tensor]) -> str:
    """Write a checkpoint durably and return its digest.

    Raises:
        CheckpointError: the file could not be written, or does not read back as it was.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    digests = {name: tensor_digest(tensor) for name, tensor in tensors.items()}
    text = json.dumps({**asdict(header), "digests": digests}, sort_keys=True)
    digest = _text_digest(text)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _require_space(path.parent, sum(tensor.nbytes for tensor in tensors.values()))
        with storage.atomic_file(path) as temporary:
            safetensors.torch.save_file(tensors, temporary, {"hifitse": text, "digest": digest})
            _forget_cached_pages(temporary)
            verify_checkpoint(temporary)
    except (OSError, safetensors.SafetensorError, CheckpointError) as error:
        reason = f"{error.strerror}: {error.filename}" if isinstance(error, OSError) else error
        raise CheckpointError(f"{path}: could not be saved ({reason}); free the disk or repair the folder") from error
    return digest


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint and verify all of it.

    Raises:
        CheckpointError: the file is missing, damaged, or not a checkpoint of this format.
    """
    header, digest = load_header(path)
    return Checkpoint(header, dict(_verified(path, header)), digest)


def verify_checkpoint(path: Path) -> None:
    """Read a checkpoint and verify all of it, as `load_checkpoint` does; one tensor at a time is in memory."""
    header, _ = load_header(path)
    for _ in _verified(path, header):
        pass


def load_header(path: Path) -> tuple[Header, str]:
    """Read and verify what a checkpoint says about itself; return it with its digest. Reads no tensor."""
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint")
    index = _index(path)
    if "hifitse" not in index.metadata:
        raise CheckpointError(f"{path}: a safetensors file, but not a hifitse checkpoint")
    text, digest = index.metadata["hifitse"], index.metadata.get("digest", "")
    if _text_digest(text) != digest:
        raise _damaged(path, "its header is not what was saved")
    try:
        data = from_json(text)
        version = data["format_version"]
        if version != FORMAT_VERSION:
            raise CheckpointError(
                f"{path}: format version {version}, this hifitse reads {FORMAT_VERSION}; update hifitse"
            )
        header = _HEADER.validate_python(data)
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(path, f"its header: {reason(error)}") from error
    if (named := re.fullmatch(r"step_(\d+)", path.stem)) and int(named[1]) != header.step:
        raise _damaged(path, f"it holds step {header.step}, not the step of its name")
    if index.entries.keys() != header.digests.keys():
        differing = sorted(index.entries.keys() ^ header.digests.keys())
        raise _damaged(path, f"its tensors are not those of its header: {differing}")
    return header, digest


def _verified(path: Path, header: Header) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the tensors of a file, each after it was compared with its digest."""
    try:
        for name, tensor in read_tensors(path):
            if tensor_digest(tensor) != header.digests.get(name):
                raise _damaged(path, f"tensor {name} is not what was saved")
            yield name, tensor
    except (OSError, ValueError) as error:
        raise _damaged(path, reason(error)) from error


def _index(path: Path) -> Index:
    try:
        return read_index(path)
    except (OSError, ValueError) as error:
        raise _damaged(path, reason(error)) from error


def _forget_cached_pages(path: Path) -> None:
    """Have the next read come from the disk, not from what the system remembers of the file."""
    storage.sync(path)
    with contextlib.suppress(OSError), path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _damaged(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(f"{path}: damaged ({reason}); resume from an earlier one with --from STEP")


def _require_space(folder: Path, num_bytes: int) -> None:
    """Raise CheckpointError where a save would not fit, or would leave the disk full."""
    needed, free = num_bytes + SPARE_BYTES, shutil.disk_usage(folder).free
    if free < needed:
        raise CheckpointError(f"it needs {needed / 1e6:,.0f} MB, the disk has {free / 1e6:,.0f} MB left")


def tensor_digest(tensor: torch.Tensor) -> str:
    """Return a digest of type, shape and content; of a tensor on a GPU, of its copy."""
    tensor = tensor.detach().cpu().contiguous()
    digest = hashlib.blake2b(f"{tensor.dtype}{tuple(tensor.shape)}".encode(), digest_size=16)
    digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _text_digest(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
