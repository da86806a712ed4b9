"""The optimizer: AdamW for all weights, or Muon for the hidden ones beside it.

Which weights are hidden follows from their names, the same for every network: a matrix is, unless a part of its name
says that it reads inputs, writes outputs or brings in a condition (`NOT_HIDDEN`). Muon makes the update of a matrix
orthogonal, which means something where it maps features to features; vectors, filters and tables are AdamW's.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from hifitse.config.optimizer import MuonConfig
from hifitse.config.schema import TrainConfig

NOT_HIDDEN = frozenset({"input", "encoder", "output", "decoder", "mask", "film", "embedding"})
"""Parts of the names of weights that are no hidden ones: ``layers.0.film.weight`` is AdamW's."""
MOMENTS = {"adamw": ("step", "exp_avg", "exp_avg_sq"), "muon": ("momentum_buffer",)}
"""What each algorithm keeps of a weight: all are of its shape, but the step is a number."""


def is_hidden(name: str, weight: Tensor) -> bool:
    """Tell whether Muon is meant for a weight: a matrix with no part of its name in NOT_HIDDEN."""
    return weight.ndim == 2 and NOT_HIDDEN.isdisjoint(name.split("."))


class Optimizer:
    """Algorithms of torch.optim side by side, each for weights of its own."""

    def __init__(self, parts: Iterable[torch.optim.Optimizer]) -> None:
        self.parts = tuple(parts)
        self.state: dict[Tensor, dict[str, Tensor]] = self.parts[0].state
        """The moments of every weight that has been updated, by the names of torch.optim."""
        for part in self.parts[1:]:
            # Their weights are not the same, so what they keep of them goes into one dictionary.
            part.state = self.parts[0].state

    @property
    def param_groups(self) -> list[dict[str, object]]:
        """Groups of weights with one learning rate each, as in torch.optim."""
        return [group for part in self.parts for group in part.param_groups]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        for part in self.parts:
            part.zero_grad(set_to_none=set_to_none)

    def step(self) -> None:
        """Update the weights by their gradients."""
        for part in self.parts:
            part.step()

    def moments_of(self, weight: Tensor) -> tuple[str, ...]:
        """Return the names of what is kept of a weight."""
        for part in self.parts:
            if any(weight is other for group in part.param_groups for other in group["params"]):
                return MOMENTS["muon" if isinstance(part, torch.optim.Muon) else "adamw"]
        raise KeyError("no weight of this optimizer")


def build_optimizer(model: nn.Module, config: TrainConfig) -> Optimizer:
    """Return the configured optimizer of a model's weights, with fresh moments."""
    settings, rate = config.optimizer, config.learning_rate
    hidden: list[Tensor] = []
    others: list[Tensor] = []
    for name, weight in model.named_parameters():
        (hidden if isinstance(settings, MuonConfig) and is_hidden(name, weight) else others).append(weight)
    parts: list[torch.optim.Optimizer] = []
    if isinstance(settings, MuonConfig) and hidden:
        parts.append(
            torch.optim.Muon(
                hidden,
                lr=rate,
                weight_decay=settings.weight_decay,
                momentum=settings.momentum,
                adjust_lr_fn="match_rms_adamw",
            )
        )
    if others:
        parts.append(torch.optim.AdamW(others, lr=rate, betas=settings.betas, weight_decay=settings.weight_decay))
    return Optimizer(parts)
