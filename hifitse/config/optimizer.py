"""The sections of the optimizers."""

from typing import Annotated, Any, Literal

from pydantic import Field

from hifitse.config.section import NonNegative, Section

_Momentum = Annotated[float, Field(ge=0, lt=1)]
_OLDER_KEYS = ("betas", "weight_decay")


class AdamWConfig(Section):
    kind: Literal["adamw"]
    """AdamW for all weights (Loshchilov and Hutter 2019)."""
    betas: tuple[_Momentum, _Momentum] = (0.8, 0.99)
    """Momentum constants: of the gradient, and of its square."""
    weight_decay: NonNegative = 0.01
    """Decoupled weight decay, relative to the learning rate."""


class MuonConfig(Section):
    kind: Literal["muon"]
    """Muon for the hidden weights (Jordan et al. 2024), its updates scaled to the size of AdamW's (Liu et al. 2025),
    so that one learning rate serves both; AdamW for all else. Hidden are the matrices between features, not those
    of inputs, masks and conditioning, see `hifitse.optimizer`."""
    momentum: _Momentum = 0.95
    """Momentum constant of Muon (Nesterov's)."""
    betas: tuple[_Momentum, _Momentum] = (0.9, 0.98)
    """Momentum constants of AdamW, for what Muon leaves to it."""
    weight_decay: NonNegative = 0.01
    """Decoupled weight decay of all weights, relative to the learning rate."""


OptimizerConfig = Annotated[AdamWConfig | MuonConfig, Field(discriminator="kind")]


def as_of_today(train: Any) -> Any:
    """Return a section ``train`` with what older configurations say of AdamW, next to its rate, in ``optimizer``."""
    if not isinstance(train, dict) or not any(key in train for key in _OLDER_KEYS):
        return train
    optimizer = train.get("optimizer", {"kind": "adamw"})
    if isinstance(optimizer, Section):
        optimizer = optimizer.model_dump()
    if not isinstance(optimizer, dict):
        return train
    older = {key: train[key] for key in _OLDER_KEYS if key in train}
    return {key: value for key, value in train.items() if key not in older} | {"optimizer": {**optimizer, **older}}
