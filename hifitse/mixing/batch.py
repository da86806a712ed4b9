"""Which scenes a step has, and a micro-batch of them; both follow from the number of the step alone."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hifitse.config.schema import Config
from hifitse.losses import Counts
from hifitse.mixing.curriculum import absent_ratio_at, num_absent


@dataclass(frozen=True)
class SceneFacts:
    """What is known of a scene that is measured, whatever a model makes of it."""

    speaker: str
    """The target's."""
    num_interferers: int
    sir_db: float | None
    """Level of the target over the loudest interferer's; None: the target is absent."""
    snr_db: float | None
    """Level of all speech over the noise; None: no noise is heard."""
    reference_seconds: float
    """How long somebody speaks in the reference."""


@dataclass(frozen=True)
class MicroBatch:
    """Some scenes of one step; B of them, in the order of their indices."""

    step: int
    """Training step; in a validation always 0."""
    number: int
    """Place among the micro-batches of the step, or of the validation."""
    is_last: bool
    """No other micro-batch of the step, or of the validation, follows on this rank."""
    indices: tuple[int, ...]
    """Scene indices."""
    mixture: Tensor
    """(B, mixture_samples) float32."""
    reference: Tensor
    """(B, reference_samples) float32."""
    target: Tensor
    """(B, mixture_samples) float32."""
    present: Tensor
    """(B,) bool: TP. Always on the CPU, where it is known without waiting for a device."""
    interferers: Tensor | None = None
    """(B, N, mixture_samples) float32: the interferers' parts of the mixture, for measuring; None in a training.
    A scene with fewer than N interferers has zeros for the rest."""
    facts: tuple[SceneFacts, ...] = ()
    """Of each scene, for measuring; none in a training."""

    def to(self, device: torch.device | str) -> "MicroBatch":
        """Return a copy on the device; from pinned memory without waiting for it."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> "MicroBatch":
        """Return a copy in page-locked memory; called by the loader where there is a GPU."""
        return self._map(lambda tensor: tensor.pin_memory())

    def _map(self, change: Callable[[Tensor], Tensor]) -> "MicroBatch":
        return replace(
            self,
            mixture=change(self.mixture),
            reference=change(self.reference),
            target=change(self.target),
            interferers=None if self.interferers is None else change(self.interferers),
        )


def step_indices(step: int, batch_size: int) -> range:
    """Return the scene indices of a step."""
    return range(step * batch_size, (step + 1) * batch_size)


def step_counts(config: Config, step: int) -> Counts:
    """Return how many TP and TA scenes a step has, over all its micro-batches; nothing is rendered."""
    indices = step_indices(step, config.train.batch_size)
    absent = num_absent(indices.start, indices.stop, absent_ratio_at(config, step))
    return Counts(num_present=len(indices) - absent, num_absent=absent)


def of_next_step(batches: Iterator[MicroBatch]) -> Iterator[MicroBatch]:
    """Yield the micro-batches of the next step; those of the step after it are left where they are.

    So a scene that cannot be rendered fails its own step, not the one before.
    """
    for batch in batches:
        yield batch
        if batch.is_last:
            return
