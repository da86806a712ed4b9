"""A checkpoint comes back as it was, or not at all."""

import os
import random
from pathlib import Path

import pytest
import torch

from hifitse import checkpoints
from hifitse.checkpoints import Header
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
    checkpoints.save(path, HEADER, tensors)
    return path


def test_it_comes_back_as_it_was(saved: Path, tensors: dict[str, torch.Tensor]) -> None:
    loaded = checkpoints.load(saved)
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


@pytest.mark.parametrize("seed", range(40))
def test_a_flipped_bit_is_found_wherever_it_is(saved: Path, seed: int) -> None:
    data = bytearray(saved.read_bytes())
    # Every second flip hits the header, which is small but matters most.
    limit = 8 + int.from_bytes(data[:8], "little") if seed % 2 else len(data)
    position = random.Random(seed).randrange(limit)
    data[position] ^= 1 << seed % 8
    saved.write_bytes(data)
    with pytest.raises(CheckpointError, match="step_00000007"):
        checkpoints.load(saved)


@pytest.mark.parametrize("share", [0, 0.001, 0.3, 0.999])
def test_truncation_is_found(saved: Path, share: float) -> None:
    data = saved.read_bytes()
    saved.write_bytes(data[: int(share * len(data))])
    with pytest.raises(CheckpointError, match="damaged"):
        checkpoints.load(saved)


def test_a_failed_save_leaves_the_old_checkpoint(
    saved: Path, tensors: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = saved.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(CheckpointError, match="No space left"):
        checkpoints.save(saved, HEADER, {name: tensor + 1 for name, tensor in tensors.items()})
    assert saved.read_bytes() == before
    assert len(list(saved.parent.iterdir())) == 1


def test_a_foreign_safetensors_file_is_named(tmp_path: Path) -> None:
    import safetensors.torch

    path = tmp_path / "other.safetensors"
    safetensors.torch.save_file({"x": torch.zeros(2)}, path)
    with pytest.raises(CheckpointError, match="not a hifitse checkpoint"):
        checkpoints.load(path)
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        checkpoints.load(tmp_path / "none.safetensors")
