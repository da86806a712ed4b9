"""Hundreds of damaged and forged checkpoints and exported models: refused by name, or passed over for an older one."""

import json
import random
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
import torch

from tests.attack import damage
from tests.attack.victim import Victim
from tests.checkpoint.forging import forge

READERS = {
    "m.safetensors": ("extract model",),
    "runs/v/checkpoints/step_00000004.safetensors": ("export", "validate best", "list", "select"),
    "runs/v/checkpoints/step_00000006.safetensors": ("restore", "go back", "pin", "list"),
    "runs/v/checkpoints/step_00000008.safetensors": ("validate", "extract", "fork"),
    "runs/v/checkpoints/step_00000010.safetensors": ("resume", "resume with retention", "list"),
}
"""Each file, and the commands that read it."""
HUGE = (100_000, 10**6, 2**31, 2**63, 10**30, -1, 0, 1e300, float("nan"), "8", None, [8])


def forge_a_size(path: Path, rng: random.Random) -> None:
    """Claim a network of another size."""
    sections = {
        "model": ["lstm_hidden", "num_layers", "feature_dim", "embedding_dim", "num_mels", "kind", "stft"],
        "audio": ["sample_rate"],
    }
    section = rng.choice(sorted(sections))
    forge(path, lambda header, _: header["config"][section].update({rng.choice(sections[section]): rng.choice(HUGE)}))


def forge_the_header(path: Path, rng: random.Random) -> None:
    def change(header: dict[str, Any], _: object) -> None:
        key = rng.choice([key for key in sorted(header) if key != "digests"])
        header[key] = damage.change_somewhere(header[key], rng)

    forge(path, change)


def forge_a_tensor(path: Path, rng: random.Random) -> None:
    def change(_: object, tensors: dict[str, torch.Tensor]) -> None:
        name = rng.choice(sorted(tensors))
        tensor, how = tensors[name], rng.randrange(7)
        if how < 3:
            tensors[name] = torch.full_like(tensor, (torch.nan, torch.inf, 3e38)[how])
        elif how == 3:
            tensors[name] = tensor.to(rng.choice((torch.float64, torch.float16, torch.int64, torch.bool)))
        elif how == 4:
            tensors[name] = torch.zeros(*tensor.shape, 2)
        else:
            del tensors[name]
        if how == 5:
            tensors[rng.choice(damage.ODD_TEXTS).replace("\x00", "") + "/x"] = tensor

    forge(path, change)


def forge_the_layout(path: Path, rng: random.Random) -> None:
    """Change the header of safetensors itself: types, shapes, places."""
    content = path.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    text = json.dumps(damage.change_somewhere(json.loads(content[8 : 8 + size]), rng)).encode()
    size = rng.choice((len(text), len(text), len(text), 0, 2**63, 2**64 - 1, len(text) * 2))
    path.write_bytes(struct.pack("<Q", size) + text + content[8 + size :])


FORGERIES = (forge_a_size, forge_a_size, forge_the_header, forge_the_header, forge_a_tensor, forge_a_tensor)


@pytest.mark.parametrize(
    "seeds", [pytest.param(range(8), id="some"), pytest.param(range(8, 260), id="all", marks=pytest.mark.attack)]
)
def test_a_damaged_checkpoint_is_named_and_changes_no_outcome_unseen(victim: Victim, seeds: range) -> None:
    failures = []
    for seed in seeds:
        rng = random.Random(seed)
        name = sorted(READERS)[seed % len(READERS)]
        command = rng.choice(READERS[name])
        victim.expected(command)
        folder = victim.copy()
        kinds = [*damage.BY_A_DISK, damage.write_something_else, *damage.NO_FILES, forge_the_layout, *FORGERIES]
        kind = rng.choice(kinds)
        kind(folder / name, rng)
        # A pin, a list and a ranking open no checkpoint.
        opens = command not in ("list", "select", "pin")
        named = [Path(name).name, f"step {int(name[-20:-12])}" if "step" in name else name, "step 6"]
        found = victim.failures(command, folder, named, kind in FORGERIES or not opens, rng.random() < 0.2)
        if (voice := folder / "out.wav").exists() and not np.isfinite(sf.read(voice)[0]).all():
            found.append("an extraction that is no sound")
        failures += [f"seed {seed}: {kind.__name__} of {name}: {text}" for text in found]
    assert not failures, f"{len(failures)}\n" + "\n".join(failures)
