"""Checkpoints and exported models as a stranger could make them."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from hifitse.checkpoint.file import tensor_digest


def forge(path: Path, change: Callable[[dict[str, Any], dict[str, torch.Tensor]], object]) -> None:
    """Change header and tensors of a checkpoint or an exported model, with digests that fit, as a stranger could."""
    tensors = safetensors.torch.load_file(path)
    with safetensors.safe_open(path, "pt") as file:
        header = json.loads(file.metadata()["hifitse"])
    change(header, tensors)
    header["digests"] = {name: tensor_digest(tensor) for name, tensor in tensors.items()}
    text = json.dumps(header, sort_keys=True)
    digest = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
    safetensors.torch.save_file(tensors, path, {"hifitse": text, "digest": digest})
