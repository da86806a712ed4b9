"""What it means to resume a training with another value of a setting: nothing, something, or that it cannot be.

free: the training goes on as it would have, only its speed, its memory or what is shown and kept of it differ.
matters: what comes after is trained or validated otherwise; allowed, shown, and noted in the run.
forbidden: the checkpoint's weights are of another network.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from hifitse.config.files import Data, to_data
from hifitse.config.schema import Config
from hifitse.errors import ConfigError

ChangeClass = Literal["free", "matters", "forbidden"]

_OTHER_SCENES = "other validation scenes: results before and after do not compare"
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
    "data.channel": ("matters", _OTHER_SCENES),
    "data.split": ("matters", _OTHER_SCENES),
    "data.held_out_fraction": ("matters", _OTHER_SCENES),
    "data.min_held_out_speakers": ("matters", _OTHER_SCENES),
    "data.same_speakers": ("matters", _OTHER_SCENES),
    "data.num_workers": "free",
    "data.cache_megabytes": "free",
    "data.prefetch": "free",
    "data.timeout_seconds": "free",
    "mixing": "matters",
    "mixing.reference_from": ("matters", _OTHER_SCENES),
    "mixing.target": ("matters", "another task from here on: results before and after do not compare"),
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
    "train.optimizer": ("matters", "another kind needs --reset-optimizer"),
    "train.clip_norm": "matters",
    "train.ema_decay": "matters",
    "train.precision": "matters",
    "train.compile": "free",
    "train.cpu_threads": "free",
    "train.deterministic": "free",
    "train.save_minutes": "free",
    "validation.speech": ("matters", _OTHER_SCENES),
    "validation.noise": ("matters", _OTHER_SCENES),
    "validation.rir": ("matters", _OTHER_SCENES),
    "validation.num_scenes": ("matters", _OTHER_SCENES),
    "validation.absent_ratio": ("matters", _OTHER_SCENES),
    "validation.num_train_scenes": "free",
    "validation.batch_size": "free",
    "test": "free",
    "test.speech": ("matters", "who was trained on is no stranger to the test"),
    "health": "free",
    "selection": "free",
    "retention": "free",
    "tracking": "free",
    "on_event": "free",
    "data fingerprint": (
        "matters",
        "the recordings are not those it was trained on; validation results do not compare",
    ),
}


@dataclass(frozen=True)
class Change:
    """One setting that differs between two configurations."""

    key: str
    """Dotted key, as an override would have it: ``curriculum.tp.until``."""
    old: Any
    """Value before, as in ``to_data``; None also where the key did not exist."""
    new: Any
    """Value after, likewise."""


def config_changes(old: Config, new: Config) -> list[Change]:
    """Return every setting that differs: in the order of ``new``, then those that only ``old`` has."""
    return data_changes(to_data(old), to_data(new))


def data_changes(old: Data, new: Data) -> list[Change]:
    """Return the same for parts of configurations, as `to_data` gives them."""
    before, after = dict(_flatten(old)), dict(_flatten(new))
    keys = dict.fromkeys([*after, *before])
    return [Change(key, before.get(key), after.get(key)) for key in keys if before.get(key) != after.get(key)]


def _flatten(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield dotted keys and their values; a list is one value, but phases and guards go by their names."""
    if isinstance(value, list) and value and all(isinstance(item, dict) and "name" in item for item in value):
        value = {item["name"]: item for item in value}
    if isinstance(value, dict):
        for key, below in value.items():
            yield from _flatten(below, f"{prefix}{key}.")
    else:
        yield prefix.removesuffix("."), value


@dataclass(frozen=True)
class ClassifiedChange(Change):
    """A change, and what it means."""

    change_class: ChangeClass
    note: str
    """What follows from it, where that is not plain."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def classify_change(change: Change) -> ClassifiedChange:
    """Return what a change means; a key that nobody has thought about matters."""
    found = _CLASSES.get(class_key(change.key) or "", "matters")
    change_class, note = (found, "") if isinstance(found, str) else found
    return ClassifiedChange(change.key, change.old, change.new, change_class, note)


def class_key(key: str) -> str | None:
    """Return the entry of the table that a dotted key falls under, or None."""
    parts = key.split(".")
    prefixes = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((prefix for prefix in prefixes if prefix in _CLASSES), None)


def require_allowed(changes: Sequence[ClassifiedChange], source: str) -> None:
    """Raise ConfigError if the checkpoint ``source`` cannot be continued with these changes."""
    forbidden = [change for change in changes if change.change_class == "forbidden"]
    if forbidden:
        first = forbidden[0]
        more = f" ({len(forbidden) - 1} more differ)" if len(forbidden) > 1 else ""
        raise ConfigError(
            f"{first.key}: {first.old} in {source}, {first.new} here{more}; a trained network cannot change: "
            "give the old value back, or train a new run with hifitse train --run NAME"
        )
