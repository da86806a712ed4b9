"""Ranks: several processes that train one model. One process is the plain case, in which nothing here does anything.

A step's loss divides sums by the counts of the whole step, so the gradient of the step is the sum of the ranks'
gradients, whatever share of its scenes each of them has. Rank 0, the main one, alone writes and talks.
"""

import atexit
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

from hifitse.distributed.environment import read_place
from hifitse.errors import HifitseError, Interrupted, UsageError

T = TypeVar("T")
_LONG = timedelta(hours=12)
"""How long ranks wait for what one of them does alone: a first scan of a large corpus, a save on a slow disk."""
_SHORT = timedelta(minutes=10)
"""How long GPUs wait for each other's gradients: all of them are at the end of the same step."""


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together."""

    rank: int = 0
    size: int = 1
    objects: Any = None
    """The process group of what is not a gradient; it works on the CPU, so it never waits for a GPU."""

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def shard(self, indices: range) -> range:
        """Return this rank's part of a step's scenes: ranks differ by one scene at most."""
        bounds = [len(indices) * rank // self.size for rank in (self.rank, self.rank + 1)]
        return indices[bounds[0] : bounds[1]]

    def all_reduce_sum(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors of one type by their sums over the ranks; the result is the same on each rank, to the bit."""
        if self.size == 1:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        with _connected():
            dist.all_reduce(flat)
        start = 0
        for tensor in tensors:
            tensor.copy_(flat[start : start + tensor.numel()].view_as(tensor))
            start += tensor.numel()

    def all_reduce_max(self, value: int) -> int:
        """Return the all_reduce_max of the ranks' values."""
        if self.size == 1:
            return value
        held = torch.tensor(value)
        with _connected():
            dist.all_reduce(held, dist.ReduceOp.MAX, group=self.objects)
        return int(held)

    def all_gather(self, value: T) -> list[T]:
        """Return the values of all ranks, in their order, on every rank."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        with _connected():
            dist.all_gather_object(values, value, group=self.objects)
        return values

    def barrier(self) -> None:
        """Wait until every rank has come here."""
        self.all_reduce_max(0)

    @contextmanager
    def all_or_none(self, what: str, memory_remedy: str) -> Generator[None]:
        """Let all ranks fail where one does; nothing inside waits for another rank.

        Args:
            what: what is done inside, e.g. ``step 7``.
            memory_remedy: what to do if memory runs out.

        Raises:
            HifitseError: it failed, here or on another rank; an error of the device, too, that surfaced here. All
                ranks raise the same one, so that all of them can do the same about it.
        """
        failed: HifitseError | None = None
        try:
            yield
        except HifitseError as error:
            failed = error
        except (RuntimeError, MemoryError) as error:
            where = "events.jsonl has the traceback" if self.is_main else f"on rank {self.rank}"
            reason = f"{(str(error).strip() or type(error).__name__).splitlines()[0]} ({where})"
            if isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(error):
                reason = f"out of memory{_peak_memory()}; {memory_remedy}"
            failed = HifitseError(f"{what} cannot be done: {reason}")
            failed.__cause__ = error
        if self.all_reduce_max(int(failed is not None)):
            errors = [error for error in self.all_gather(failed) if error]
            first = next((error for error in errors if isinstance(error, Interrupted)), errors[0])
            # The own one still knows its cause.
            raise failed if failed and str(failed) == str(first) else first

    def on_main(self, action: Callable[[], T]) -> T:
        """Let the main rank alone do something; every rank returns its result, or raises its error."""
        if self.size == 1:
            return action()
        outcome: list[Any] = [None, None]
        raised: BaseException | None = None
        if self.is_main:
            try:
                outcome[0] = action()
            except (HifitseError, OSError) as error:
                raised = outcome[1] = error
            except Exception as error:
                # Not one of ours, perhaps with parts that cannot be sent; it ends this rank, and so all of them.
                raised = error
                outcome[1] = HifitseError(f"rank 0 failed: {error}")
        with _connected():
            dist.broadcast_object_list(outcome, src=0, group=self.objects)
        if raised or outcome[1]:
            raise raised or outcome[1]
        return cast(T, outcome[0])


def connect(device: torch.device) -> tuple[Ranks, torch.device]:
    """Join the ranks that torchrun or ``--ranks`` started, if any did; return them with this rank's device.

    Raises:
        UsageError: there are fewer GPUs on this machine than ranks, or the environment is that of half a rank.
    """
    place = read_place()
    if place.size == 1:
        return Ranks(), device
    if device.type == "cuda":
        if place.local_rank >= torch.cuda.device_count():
            raise UsageError(
                f"rank {place.local_rank} of this machine has no GPU of its own, there are "
                f"{torch.cuda.device_count()}; start fewer ranks, or use --device cpu"
            )
        device = torch.device("cuda", place.local_rank)
    if not dist.is_initialized():
        with _connected():
            if device.type == "cuda":
                dist.init_process_group("nccl", timeout=_SHORT)
            else:
                dist.init_process_group("gloo", timeout=_LONG)
        # Threads that are still connected when the interpreter ends would abort the process.
        atexit.register(dist.destroy_process_group)
    return Ranks(place.rank, place.size, dist.new_group(backend="gloo", timeout=_LONG)), device


def _peak_memory() -> str:
    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return ""
    return f" on the GPU, of which {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB were in use at the most"


@contextmanager
def _connected() -> Generator[None]:
    try:
        yield
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise HifitseError(f"the connection to another rank is lost ({reason}); hifitse resume goes on") from error
