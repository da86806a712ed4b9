"""What it means to resume a training with another value of a setting: nothing, something, or that it cannot be.

free: the training goes on as it would have, only its speed, its memory or what is told and kept of it differ.
matters: what comes after is trained or examined otherwise; allowed, shown, and noted in the run.
forbidden: the checkpoint's weights are of another network.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from hifitse.config.files import Change
from hifitse.errors import ConfigError

ChangeClass = Literal["free", "matters", "forbidden"]

_ANOTHER_EXAM = "another exam: results before and after do not compare"
_MOVED = "nothing, if the recordings only moved: then the data fingerprint is the same"
_RATE = "the learning rate from here on changes"

# A key stands for all below it, unless a longer one is here, too. The sections where both kinds live name every key,
# so that a new one there has to be thought about.
_CLASSES: dict[str, ChangeClass | tuple[ChangeClass, str]] = {
    "seed": ("matters", "other scenes from here on"),
    "audio.sample_rate": "forbidden",
    "audio.mixture_seconds": "matters",
    "audio.reference_seconds": "matters",
    "data.speech": ("matters", _MOVED),
    "data.noise": ("matters", _MOVED),
    "data.rir": ("matters", _MOVED),
    "data.generated_noise": "matters",
    "data.simulated_rooms": "matters",
    "data.exclude": "matters",
    "data.split": ("matters", _ANOTHER_EXAM),
    "data.held_out_fraction": ("matters", _ANOTHER_EXAM),
    "data.num_workers": "free",
    "data.cache_megabytes": "free",
    "data.prefetch": "free",
    "mixing": "matters",
    "curriculum": "matters",
    "model": "forbidden",
    "model.activation_checkpointing": "free",
    "loss": ("matters", "another objective: val_loss before and after does not compare"),
    "train.total_steps": ("matters", _RATE),
    "train.batch_size": "matters",
    "train.micro_batch_size": "free",
    "train.validate_every": "free",
    "train.checkpoint_every": "free",
    "train.log_every": "free",
    "train.learning_rate": ("matters", _RATE),
    "train.min_learning_rate": ("matters", _RATE),
    "train.warmup_steps": ("matters", _RATE),
    "train.rewarmup_steps": "matters",
    "train.betas": "matters",
    "train.weight_decay": "matters",
    "train.clip_norm": "matters",
    "train.ema_decay": "matters",
    "train.precision": "matters",
    "train.cpu_threads": "free",
    "train.deterministic": "free",
    "train.save_attempts": "free",
    "validation.num_scenes": ("matters", _ANOTHER_EXAM),
    "validation.absent_ratio": ("matters", _ANOTHER_EXAM),
    "validation.batch_size": "free",
    "health": "free",
    "selection": "free",
    "retention": "free",
    "data fingerprint": ("matters", "the recordings are not those it was trained on; exams do not compare"),
}


@dataclass(frozen=True)
class Judged:
    """A change, and what it means."""

    key: str
    old: Any
    new: Any
    change_class: ChangeClass
    note: str
    """What follows from it, where that is not plain."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def judge_change(change: Change) -> Judged:
    """Return what a change means; a key that nobody has thought about matters."""
    found = _CLASSES.get(class_key(change.key) or "", "matters")
    change_class, note = (found, "") if isinstance(found, str) else found
    return Judged(change.key, change.old, change.new, change_class, note)


def class_key(key: str) -> str | None:
    """Return the entry of the table that a dotted key falls under, or None."""
    parts = key.split(".")
    prefixes = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((prefix for prefix in prefixes if prefix in _CLASSES), None)


def require_allowed(changes: Sequence[Judged], source: str) -> None:
    """Raise ConfigError if the checkpoint ``source`` cannot be continued with these changes."""
    forbidden = [change for change in changes if change.change_class == "forbidden"]
    if forbidden:
        first = forbidden[0]
        more = f" ({len(forbidden) - 1} more differ)" if len(forbidden) > 1 else ""
        raise ConfigError(
            f"{first.key}: {first.old} in {source}, {first.new} here{more}; a trained network cannot change: "
            "give the old value back, or train a new run with hifitse train --run NAME"
        )
