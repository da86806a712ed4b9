"""Reads, writes and compares configurations. Every problem names its file, line and key, or its override."""

import copy
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hifitse.config.parsing.annotations import item_type, list_type, options
from hifitse.config.parsing.messages import Origins, lines_for
from hifitse.config.parsing.overrides import apply_override
from hifitse.config.parsing.yaml import read_yaml, write_yaml
from hifitse.config.schema import Config, DataConfig
from hifitse.errors import ConfigError

_PATH_LISTS = [
    name
    for name, field in DataConfig.model_fields.items()
    if list_type(field.annotation) and Path in options(item_type(field.annotation, 0))
]


def load_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Return the configuration in a YAML file, with overrides such as ``loss.ta_weight=0.1`` applied in order.

    Relative paths in ``data`` start from the folder of the file, those in overrides from the working directory;
    all of them are absolute in the result. ``curriculum.tp.until=150`` addresses a phase by its name,
    ``model.kind=compact`` starts from the defaults of that kind if the file has another.

    Raises:
        ConfigError: the file is missing or is no YAML, or a key or value is wrong; the message has a line for each
            problem: ``configs/demo.yaml:14: loss.ta_weigth: unknown key; did you mean 'ta_weight'?``
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the configuration: {error.strerror}") from None
    data, lines = read_yaml(content, str(path))
    if not isinstance(data, dict | None):
        raise ConfigError(f"{path}: expected sections such as 'data:' and 'model:', got {type(data).__name__}")
    data = dict(data or {})
    _make_absolute(data, path.parent)
    origins = Origins(str(path), lines)
    problems = []
    for override in overrides:
        try:
            origins.override(apply_override(data, override), override)
        except ConfigError as error:
            problems.append(str(error))
        # Whatever is relative now came with the override.
        _make_absolute(data, Path.cwd())
    try:
        config = Config.model_validate(data)
    except ValidationError as error:
        problems += lines_for(error, origins)
    if problems:
        raise ConfigError("\n".join(problems))
    return config


def _make_absolute(data: dict[str, Any], folder: Path) -> None:
    section = data.get("data")
    if not isinstance(section, dict):
        return
    for name in _PATH_LISTS:
        entries = section.get(name)
        if isinstance(entries, str | dict):
            entries = [entries]
        if isinstance(entries, list):
            section[name] = [_absolute(entry, folder) for entry in entries]


def _absolute(entry: Any, folder: Path) -> Any:
    """Return a path, or a section with a path in it, with the path absolute; anything else as it is."""
    if isinstance(entry, dict) and "path" in entry:
        return {**entry, "path": _absolute(entry["path"], folder)}
    if not isinstance(entry, str) or not entry:
        return entry
    expanded = os.path.expanduser(entry)
    # Not resolve(): a link to a corpus may move, and should be followed when the corpus is read.
    return expanded if os.path.isabs(expanded) else os.path.abspath(folder / expanded)


def dump_config(config: Config) -> str:
    """Return the configuration as YAML, every setting in it, that loads back to an equal one."""
    return write_yaml(to_data(config))


def to_data(config: Config) -> dict[str, Any]:
    """Return the configuration as dicts, lists and plain values that JSON can hold."""
    return config.model_dump(mode="json")


def from_data(data: dict[str, Any], source: str, overrides: Sequence[str] = ()) -> Config:
    """Return the configuration that ``to_data`` made ``data`` from, with overrides applied.

    Raises:
        ConfigError: it does not fit; each line of the message begins with ``source``.
    """
    data = copy.deepcopy(data)
    for override in overrides:
        apply_override(data, override)
        _make_absolute(data, Path.cwd())
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        raise ConfigError("\n".join(lines_for(error, Origins(source)))) from None


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
    before, after = dict(_flatten(to_data(old))), dict(_flatten(to_data(new)))
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
