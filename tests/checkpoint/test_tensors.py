"""Safetensors files in plain reads: what the library writes is read alike, and no size is believed."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from hifitse.checkpoint.file import Header, load_checkpoint, save_checkpoint
from hifitse.checkpoint.tensors import read_index, read_tensors
from hifitse.errors import CheckpointError
from hifitse.runs.checkpoint_ref import CheckpointRef
from hifitse.runs.run import Run

TENSORS = {
    "b/matrix": torch.randn(3, 5, generator=torch.Generator().manual_seed(0)),
    "a/half": torch.randn(7, generator=torch.Generator().manual_seed(1)).half(),
    "brain": torch.ones(2, 2, 2, dtype=torch.bfloat16),
    "double": torch.tensor(2 / 3, dtype=torch.float64),
    "step": torch.tensor(7.0),
    "none": torch.zeros(0, 4),
    "flags": torch.tensor([True, False, True]),
    "numbers": torch.arange(5),
    "bytes": torch.arange(3, dtype=torch.uint8),
}


def test_it_reads_what_the_library_writes(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    safetensors.torch.save_file(TENSORS, path, {"format": "pt", "é": "ü"})
    read = dict(read_tensors(path))
    assert read.keys() == TENSORS.keys() == read_index(path).entries.keys()
    for name, tensor in TENSORS.items():
        assert read[name].dtype == tensor.dtype and read[name].shape == tensor.shape
        assert torch.equal(read[name], tensor), name
    assert read_index(path).metadata == {"format": "pt", "é": "ü"}


def write(path: Path, header: Any, data: bytes = b"") -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def entry(shape: Any = (2,), offsets: Any = (0, 8), dtype: Any = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


@pytest.mark.parametrize(
    "header",
    [
        {"x": entry((10**12,), (0, 4 * 10**12))},
        {"x": entry((10**12,))},
        {"x": entry((-1, -2))},
        {"x": entry((2**62, 2**62, 2**62))},
        {"x": entry([2**62] * 9)},
        {"x": entry((2.0,))},
        {"x": entry((True, 2))},
        {"x": entry(offsets=(8, 0))},
        {"x": entry(offsets=(4, 12))},
        {"x": entry(), "y": entry()},
        {"x": entry((1,), (0, 4))},
        {"x": entry((3,), (0, 12))},
        {"x": entry(dtype="F8")},
        {"x": entry(dtype=["F32"])},
        {"x": [1]},
        {"x": entry() | {"more": 1}},
        {"x": entry(), "__metadata__": {"a": 1}},
        {"x": entry(), "__metadata__": []},
        [],
        b"{" * 10**6,
        b"",
        b"\xff",
    ],
)
def test_no_size_is_believed(tmp_path: Path, header: Any) -> None:
    path = write(tmp_path / "x.safetensors", header, bytes(8))
    with pytest.raises(ValueError):
        read_index(path)
    with pytest.raises(CheckpointError, match="x.safetensors: damaged") as caught:
        load_checkpoint(path)
    assert "\n" not in str(caught.value)


def test_a_header_that_is_longer_than_the_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    for size in (9, 10**8, 2**63, 2**64 - 1):
        path.write_bytes(struct.pack("<Q", size) + b"{}")
        with pytest.raises(ValueError):
            read_index(path)


def test_what_cannot_be_read_is_an_error_and_an_older_checkpoint_is_taken(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    for step in (2, 4):
        save_checkpoint(run.checkpoint_path(step), Header(step, {}, ""), {"model/w": torch.ones(2)})
    # A file whose first page gives an input/output error, as that of a disk that fails.
    run.checkpoint_path(6).symlink_to("/proc/self/mem")
    checkpoint, skipped = CheckpointRef("last").load(run)
    assert checkpoint.header.step == 4
    assert len(skipped) == 1 and "step_00000006.safetensors: damaged (Input/output error)" in skipped[0]


def test_nothing_is_mapped_to_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_checkpoint(path, Header(1, {}, ""), {"model/w": torch.ones(10_000)})
    loaded = load_checkpoint(path)
    assert str(path) not in Path("/proc/self/maps").read_text()
    path.write_bytes(b"")
    assert loaded.tensors["model/w"].sum() == 10_000
