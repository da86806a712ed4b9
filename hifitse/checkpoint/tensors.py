"""Reads safetensors files in plain reads: a sector that cannot be read is then an error, where memory that is mapped
to the file, as the library has it, ends the process. Before anything is allocated, sizes are compared with the file's.
"""

import io
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import from_json
from torch import Tensor

from hifitse.storage import opened

Size = Annotated[int, Field(ge=0, lt=2**63, strict=True)]

_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_MOST_BYTES_OF_A_HEADER = 10**8
"""As in the library."""


class Entry(BaseModel):
    """What the header says about one tensor."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dtype: Literal["F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL"]
    shape: Annotated[tuple[Size, ...], Field(max_length=8)]
    data_offsets: tuple[Size, Size]

    @property
    def torch_dtype(self) -> torch.dtype:
        return _DTYPES[self.dtype]

    @property
    def num_bytes(self) -> int:
        return math.prod(self.shape) * self.torch_dtype.itemsize


class Index(BaseModel):
    """The header of a file."""

    entries: dict[str, Entry]
    """In the order in which they lie in the file."""
    metadata: dict[str, str]


def read_index(path: Path) -> Index:
    """Return what a file says is in it.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no whole safetensors file.
    """
    with opened(path) as file:
        return _index(file)


def read_tensors(path: Path) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of a file by name, on the CPU, one after the other; errors are those of `read_index`."""
    with opened(path) as file:
        # They lie one behind the other, from where the header ends.
        for name, entry in _index(file).entries.items():
            tensor = torch.empty(entry.shape, dtype=entry.torch_dtype)
            _read_into(file, tensor.reshape(-1).view(torch.uint8).numpy().data)
            yield name, tensor


def _index(file: io.BufferedReader) -> Index:
    size = int.from_bytes(_read(file, 8), "little")
    if size > _MOST_BYTES_OF_A_HEADER:
        raise ValueError(f"its header has {size} bytes")
    data = from_json(_read(file, size))
    if not isinstance(data, dict):
        raise ValueError("its header is no JSON object")
    metadata = data.pop("__metadata__", {})
    index = Index.model_validate({"entries": data, "metadata": metadata})
    entries = dict(sorted(index.entries.items(), key=lambda item: item[1].data_offsets))
    end = 0
    for name, entry in entries.items():
        if entry.data_offsets != (end, end + entry.num_bytes):
            raise ValueError(f"tensor {name} is not where it has to be")
        end += entry.num_bytes
    here = file.tell()
    if (length := file.seek(0, 2) - here) != end:
        raise ValueError(f"it has {length} bytes of tensors, its header says {end}")
    file.seek(here)
    return Index(entries=entries, metadata=index.metadata)


def _read(file: io.BufferedReader, size: int) -> bytes:
    content = file.read(size)
    if len(content) < size:
        raise ValueError("it is cut short")
    return content


def _read_into(file: io.BufferedReader, place: memoryview) -> None:
    while place:
        num_read = file.readinto(place)
        if not num_read:
            raise ValueError("it is cut short")
        place = place[num_read:]
