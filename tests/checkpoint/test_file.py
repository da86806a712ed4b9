"""A checkpoint comes back as it was, or not at all."""

import os
import random
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from hifitse.checkpoint.file import SPARE_BYTES, Header, load_checkpoint, save_checkpoint
from hifitse.errors import CheckpointError

HEADER = Header(step=7, config={"seed": 1, "name": "é"}, data_fingerprint="abc", parent="def", optimizer_reset_step=3)


@pytest.fixture
def tensors() -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    return {
        "model/weight": torch.randn(20, 30, generator=rng),
        "model/transposed": torch.randn(5, 4, generator=rng).T,
        "ema/weight": torch.randn(20, 30, generator=rng).bfloat16(),
        "optimizer/weight/step": torch.tensor(7.0),
    }


@pytest.fixture
def saved(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> Path:
    path = tmp_path / "checkpoints" / "step_00000007.safetensors"
    save_checkpoint(path, HEADER, tensors)
    return path


def test_it_comes_back_as_it_was(saved: Path, tensors: dict[str, torch.Tensor]) -> None:
    loaded = load_checkpoint(saved)
    assert loaded.header.step == 7
    assert loaded.header.config == HEADER.config
    assert (loaded.header.parent, loaded.header.optimizer_reset_step) == ("def", 3)
    assert loaded.tensors.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert loaded.tensors[name].dtype == tensor.dtype
        assert torch.equal(loaded.tensors[name], tensor)


def test_nothing_but_the_checkpoint_is_left_and_the_umask_decides_its_mode(saved: Path) -> None:
    mask = os.umask(0)
    os.umask(mask)
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]
    assert saved.stat().st_mode & 0o777 == 0o666 & ~mask


def assert_found(path: Path, damaged: bytes) -> None:
    path.write_bytes(damaged)
    with pytest.raises(CheckpointError, match="step_00000007"):
        load_checkpoint(path)


def test_a_flipped_bit_is_found_wherever_it_is(saved: Path) -> None:
    data, rng = saved.read_bytes(), random.Random(0)
    header_end = 8 + int.from_bytes(data[:8], "little")
    assert data[header_end - 1] == ord(" "), "the header has padding, too"
    # Every second flip hits the header, which is small but matters most.
    places = [rng.randrange(len(data) if i % 2 else header_end) for i in range(200)]
    for place in [*range(8), header_end - 1, *places]:
        damaged = bytearray(data)
        damaged[place] ^= 1 << rng.randrange(8)
        assert_found(saved, damaged)


def test_truncation_is_found(saved: Path) -> None:
    data, rng = saved.read_bytes(), random.Random(0)
    for length in [0, 1, 8, len(data) - 1, *(rng.randrange(len(data)) for _ in range(50))]:
        assert_found(saved, data[:length])


def test_a_zeroed_tail_and_a_longer_file_are_found(saved: Path) -> None:
    data, rng = saved.read_bytes(), random.Random(0)
    for length in [4, 4096, len(data), *(rng.randrange(4, len(data)) for _ in range(20))]:
        kept = data[: max(len(data) - length, 0)]
        assert_found(saved, kept + bytes(len(data) - len(kept)))
        assert_found(saved, data + bytes(length))


def test_exchanged_files_are_found(saved: Path, tensors: dict[str, torch.Tensor]) -> None:
    other = saved.with_name("step_00000009.safetensors")
    save_checkpoint(other, replace(HEADER, step=9), tensors)
    aside = saved.rename(saved.with_name("aside"))
    other.rename(saved)
    aside.rename(other)
    for path, held in ((saved, 9), (other, 7)):
        with pytest.raises(CheckpointError, match=f"{path.name}: damaged .it holds step {held}, not the step of its"):
            load_checkpoint(path)
    assert load_checkpoint(other.rename(saved.with_name("mine.safetensors"))).header.step == 7, "a name of one's own"


def test_a_save_that_would_fill_the_disk_is_not_begun(
    saved: Path, tensors: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=SPARE_BYTES))
    with pytest.raises(CheckpointError, match="it needs 17 MB, the disk has 17 MB left"):
        save_checkpoint(saved, HEADER, tensors)
    assert load_checkpoint(saved).header.step == 7


def test_a_failed_save_leaves_the_old_checkpoint(
    saved: Path, tensors: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = saved.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(CheckpointError, match="No space left"):
        save_checkpoint(saved, HEADER, {name: tensor + 1 for name, tensor in tensors.items()})
    assert saved.read_bytes() == before
    assert len(list(saved.parent.iterdir())) == 1


def test_a_foreign_safetensors_file_is_named(tmp_path: Path) -> None:
    import safetensors.torch

    path = tmp_path / "other.safetensors"
    safetensors.torch.save_file({"x": torch.zeros(2)}, path)
    with pytest.raises(CheckpointError, match="not a hifitse checkpoint"):
        load_checkpoint(path)
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        load_checkpoint(tmp_path / "none.safetensors")
