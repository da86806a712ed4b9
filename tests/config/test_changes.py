"""Every setting has a class that says what another value of it means on resume."""

from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path
from typing import Any

import pytest

from hifitse.config.changes import (
    _CLASSES,
    Change,
    class_key,
    classify_change,
    config_changes,
    require_allowed,
)
from hifitse.config.files import load_config
from hifitse.config.parsing import annotations
from hifitse.config.schema import Config
from hifitse.errors import ConfigError
from tests.config.basic import load
from tests.helpers import TINY


def keys(annotation: Any, prefix: str = "") -> Iterator[str]:
    """Yield the dotted keys of all settings below an annotation; the name of a phase or guard is left out."""
    found = annotations.sections(annotation)
    if not found and annotations.list_type(annotation):
        found = annotations.sections(annotations.item_type(annotation, 0))
    if not found:
        yield prefix.removesuffix(".")
    for section in found:
        for name, field in section.model_fields.items():
            yield from keys(field.annotation, f"{prefix}{name}.")


def test_every_key_has_a_class_and_every_class_a_key() -> None:
    known = list(keys(Config))
    assert len(known) > 80
    without = [key for key in known if class_key(key) is None]
    assert not without, f"give these a class in hifitse/config/changes.py: {without}"
    unused = set(_CLASSES) - {class_key(key) for key in known} - {"data fingerprint"}
    # An optional section is a key of its own while it is null.
    assert unused == set()


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("train.micro_batch_size=4", "free"),
        ("data.num_workers=3", "free"),
        ("health.guards.level_low.action=warn", "free"),
        ("retention.keep_last=2", "free"),
        ("train.total_steps=20", "matters"),
        ("train.batch_size=8", "matters"),
        ("curriculum.tp.until=5", "matters"),
        ("loss.absent.target_db=-40", "matters"),
        ("data.simulated_rooms={num_rooms: 3}", "matters"),
        ("validation.num_scenes=12", "matters"),
        ("model.feature_dim=24", "forbidden"),
        ("model.stft.hop=32", "forbidden"),
        ("audio.sample_rate=16000", "forbidden"),
    ],
)
def test_a_change_has_the_class_of_its_key(override: str, expected: str) -> None:
    changes = config_changes(load_config(TINY), load_config(TINY, [override]))
    assert {classify_change(change).change_class for change in changes} == {expected}


def test_a_key_that_nobody_thought_about_matters() -> None:
    assert classify_change(Change("brand.new", 1, 2)).change_class == "matters"


def test_what_is_forbidden_names_key_values_and_remedy() -> None:
    changes = [classify_change(Change(f"model.{name}", 16, 24)) for name in ("feature_dim", "lstm_hidden")]
    with pytest.raises(ConfigError, match=r"^model.feature_dim: 16 in here, 24 .*1 more.*hifitse train --run NAME"):
        require_allowed(changes, "here")
    require_allowed([classify_change(Change("loss.ta_weight", 0.1, 0.2))], "here")


def test_changes_are_named_like_overrides(folder: Path) -> None:
    old, new = load(), load("curriculum.tp.until=5", "loss.absent.kind=relative", "mixing.sir_db=[0, 1]")
    assert config_changes(old, new) == [
        Change("mixing.sir_db", [-5.0, 5.0], [0.0, 1.0]),
        Change("curriculum.tp.until", 1000, 5),
        Change("loss.absent.kind", "hinge", "relative"),
    ]
    backwards = [(change.key, change.new, change.old) for change in config_changes(new, old)]
    assert backwards == [astuple(change) for change in config_changes(old, new)]


def test_changes_between_kinds_and_phases(folder: Path) -> None:
    old, new = load(), load("model.kind=compact", "curriculum=[{name: all, absent_ratio: 0.1}]")
    changes = {change.key: (change.old, change.new) for change in config_changes(old, new)}
    assert changes["model.kind"] == ("grid", "compact")
    assert changes["model.num_mels"] == (None, 64)
    assert changes["model.bands"] == ("hifi_tse_48k", None)
    assert changes["curriculum.all.absent_ratio"] == (None, 0.1)
    assert changes["curriculum.tp.until"] == (1000, None)
