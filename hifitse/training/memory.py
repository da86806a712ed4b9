"""`train.micro_batch_size` and `model.activation_checkpointing` where they are ``auto``: what the free memory allows.

They are chosen once, when a run starts, and from then on stand in its configuration and its checkpoints as if they had
been given: whatever is free when it is resumed, it goes on with the same numbers.
"""

import contextlib
import resource
import weakref
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from hifitse.config.schema import Config
from hifitse.console import info
from hifitse.experiment import Experiment
from hifitse.losses import Counts
from hifitse.models.build import build_model

_USABLE = 0.75
"""Share of the free memory that is planned for: kernels have workspaces, and allocators gaps."""
_ENOUGH_ON_CPU = 10**9
"""Bytes of scenes that keep a CPU busy. Measured on one core: of 4 MB each, 16 at once take half the time of one by
one, of 90 MB each the same time, of 1.5 GB each 10 % more."""
_CGROUP = Path("/sys/fs/cgroup/memory.max")


def as_recorded(config: Config, recorded: Config) -> Config:
    """Return a configuration in which ``auto`` has become what a checkpoint's configuration says was chosen."""
    size = recorded.train.micro_batch_size
    if size != "auto":
        size = min(size, config.train.batch_size)
    return _chosen(config, size, getattr(recorded.model, "activation_checkpointing", "auto"))


def fitted(experiment: Experiment) -> Experiment:
    """Return the experiment with ``auto`` replaced by what fits into the memory of every rank, and say what that is."""
    config, ranks = experiment.config, experiment.ranks
    if config.train.micro_batch_size != "auto" and _checkpointing(config) != "auto":
        return experiment
    free = _free_bytes(experiment.device, ranks.size)
    size, recompute, scene = _choice(experiment, free)
    choices = ranks.all_gather((size, recompute))
    size, recompute = min(size for size, _ in choices), any(recompute for _, recompute in choices)
    info(
        f"micro-batches of {size}{', recomputing' if recompute else ''}: a scene takes about {scene / 1e6:,.0f} MB, "
        f"{free / 1e6:,.0f} MB are free; --set train.micro_batch_size=N for another size"
    )
    return replace(experiment, config=_chosen(config, size, recompute))


def _chosen(config: Config, size: int | Literal["auto"], checkpointing: bool | Literal["auto"]) -> Config:
    if config.train.micro_batch_size == "auto":
        train = config.train.model_copy(update={"micro_batch_size": size})
        config = config.model_copy(update={"train": train})
    if _checkpointing(config) == "auto":
        model = config.model.model_copy(update={"activation_checkpointing": checkpointing})
        config = config.model_copy(update={"model": model})
    return config


def _checkpointing(config: Config) -> bool | Literal["auto"]:
    """Return what is said of recomputation; not every network has it."""
    found: bool | Literal["auto"] = getattr(config.model, "activation_checkpointing", False)
    return found


def _choice(experiment: Experiment, free: int) -> tuple[int, bool, int]:
    """Return the size of micro-batches, whether to recompute, and the bytes that a scene takes then.

    Sizes divide the share of a rank. To recompute takes a third more time: only where otherwise not even one scene
    fits, and on a GPU, which is idle with few at once, not a quarter of the share.
    """
    config, on_cpu = experiment.config, experiment.device.type == "cpu"
    share = -(-config.train.batch_size // experiment.ranks.size)
    given, checkpointing = config.train.micro_batch_size, _checkpointing(config)
    sizes = [n for n in range(share, 0, -1) if share % n == 0] if given == "auto" else [given]
    fewest = 1 if on_cpu else min(share / 4, sizes[0])
    room = round(_USABLE * free)
    for recompute in (False, True) if checkpointing == "auto" else (checkpointing,):
        scene, weights = measure(experiment, recompute, limit=room)
        # Weights, their EMA and two moments; the gradients are part of what was measured.
        left = room - 4 * weights
        most = min(left, _ENOUGH_ON_CPU) if on_cpu else left
        size = next((n for n in sizes if n * scene <= most), sizes[-1])
        if size >= fewest and size * scene <= left:
            break
    return size, recompute, scene


def measure(experiment: Experiment, recompute: bool, num_scenes: int = 1, limit: float = inf) -> tuple[int, int]:
    """Return the most bytes that the step of a micro-batch holds at a time, gradients included, and those of weights.

    Args:
        recompute: instead of what the configuration says, where the network can.
        limit: it is ended where it holds more bytes than that.
    """
    config, device, objective = experiment.config, experiment.device, experiment.objective
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        section = config.model
        if hasattr(section, "activation_checkpointing"):
            section = section.model_copy(update={"activation_checkpointing": recompute})
        model = build_model(section, config.audio.sample_rate).to(device).train()
        lengths = (config.audio.mixture_samples, config.audio.reference_samples, config.audio.mixture_samples)
        mixture, reference, target = (0.1 * torch.randn(num_scenes, length).to(device) for length in lengths)
    weights = list(model.parameters())
    with _LiveBytes([*weights, *model.buffers(), mixture, reference, target], limit) as counter:
        with contextlib.suppress(_TooMuch):
            with experiment.autocast():
                estimate = model(mixture, reference)
            sums = objective.sums(estimate, target, mixture, torch.ones(num_scenes, dtype=torch.bool), has_absent=False)
            objective.loss(sums, Counts(num_scenes, 0), has_absent=False).backward()  # type: ignore[no-untyped-call]
    return counter.peak, sum(weight.nbytes for weight in weights)


class _TooMuch(Exception):
    """More is held than there is room for."""


class _LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of the tensors that operations make inside, and that are still there."""

    def __init__(self, known: list[Tensor], limit: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.known = {tensor.untyped_storage()._cdata for tensor in known}
        self.limit = limit
        self.live = self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_iter(result):
            if isinstance(tensor, Tensor):
                self._count(tensor.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        # Views share a storage.
        if storage._cdata in self.known:
            return
        self.known.add(storage._cdata)
        self.live += storage.nbytes()
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._forget, storage._cdata, storage.nbytes())
        if self.peak > self.limit:
            raise _TooMuch

    def _forget(self, key: int, num_bytes: int) -> None:
        self.known.discard(key)
        self.live -= num_bytes


def _free_bytes(device: torch.device, num_ranks: int) -> int:
    """Return what a rank may use of the memory of its GPU, or of this machine, which it shares with the others."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    lines = Path("/proc/meminfo").read_text().splitlines()
    free = next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    # A container may have less.
    limit = _CGROUP.read_text().strip() if _CGROUP.exists() else "max"
    return (free if limit == "max" else min(free, int(limit))) // num_ranks


def peak_memory_bytes(device: torch.device) -> int:
    """Return the most memory that this process has used so far: of the GPU if it trains on one, else of the machine."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
