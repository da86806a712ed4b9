"""SPACE.yaml: what every trial of a sweep starts from, and between which values of which settings it chooses.

config: demo                                          # or from: RUN@STEP
space:
  loss.ta_weight: [0.02, 0.05, 0.1]
  train.learning_rate: {low: 3.0e-4, high: 3.0e-3, log: true}
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from pydantic import ValidationError, model_validator

from hifitse.config.changes import classify_change, config_changes, require_allowed
from hifitse.config.files import find_config, load_config
from hifitse.config.parsing.annotations import unknown
from hifitse.config.parsing.messages import Origins, lines_for
from hifitse.config.parsing.yaml import MOST_BYTES, read_yaml
from hifitse.config.schema import Config
from hifitse.config.section import Section
from hifitse.errors import ConfigError
from hifitse.runs.checkpoint_ref import CheckpointRef
from hifitse.runs.run import Run
from hifitse.storage import read_bytes

Value = bool | int | float | str | None
"""Of a setting. A list or a section is text, as an override has it."""
_KEYS = ("config", "from", "space")


class Range(Section):
    """Any value between two numbers; whole ones where both are whole."""

    low: int | float
    """The lowest value."""
    high: int | float
    """The highest value."""
    log: bool = False
    """Whether low values are tried as finely as high ones: for what is thought of in factors."""

    @model_validator(mode="after")
    def _is_range(self) -> "Range":
        if not self.low < self.high:
            raise ValueError(f"high: must be above low, which is {self.low}; got {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"low: must be above 0 with log, got {self.low}")
        return self


Choices = tuple[Value, ...]


@dataclass(frozen=True)
class Space:
    """What a SPACE.yaml says; nothing is looked up yet."""

    path: Path
    config: str | None
    """The configuration that every trial trains with, but for its settings."""
    source: str | None
    """RUN@STEP that every trial is a fork of."""
    settings: dict[str, Range | Choices]
    places: dict[str, str]
    """Where each setting stands: file and line."""

    @classmethod
    def read(cls, path: Path) -> "Space":
        """Read a file.

        Raises:
            ConfigError: it cannot be read, or something in it is wrong; the message names file, line and key.
        """
        try:
            content = read_bytes(path, MOST_BYTES)
        except OSError as error:
            raise ConfigError(f"{path}: cannot read the space of the sweep: {error.strerror}") from None
        data, lines = read_yaml(content, str(path))
        if not isinstance(data, dict) or not isinstance(data.get("space"), dict) or not data["space"]:
            raise ConfigError(f"{path}: expected 'space:' with a 'setting: values' line for each setting to be tried")
        for key in data:
            if key not in _KEYS:
                raise ConfigError(f"{path}:{lines[(key,)]}: {key}: {unknown('key', key, _KEYS)}")
        config, source = (_text(data, key, path) for key in ("config", "from"))
        if (config is None) == (source is None):
            raise ConfigError(f"{path}: give either config (a configuration) or from (RUN@STEP, to fork every trial)")
        places = {key: f"{path}:{lines[('space', key)]}" for key in data["space"]}
        return cls(path, config, source, {k: _setting(k, v, places[k]) for k, v in data["space"].items()}, places)

    @property
    def record(self) -> dict[str, Any]:
        """All that trials are made of, as JSON: the same in two files that make the same trials."""
        values = {k: v.model_dump() if isinstance(v, Range) else list(v) for k, v in self.settings.items()}
        return {"config": self.config, "from": self.source, "space": values}

    def fork(self) -> tuple[Run, int] | None:
        """Return the run and the step that every trial is forked from; None where trials are new.

        Raises:
            UsageError: there is no such checkpoint.
        """
        if self.source is None:
            return None
        name, _, step = self.source.rpartition("@")
        if not name or not step.isdecimal():
            raise ConfigError(f"{self.path}: from: expected RUN@STEP, for example demo@1200, got {self.source!r}")
        run = Run.named(name)
        CheckpointRef(step).path(run)
        return run, int(step)

    def base(self) -> Config:
        """Return the configuration that every trial shares, when each value of the space has been tried on it.

        Raises:
            UsageError: there is no such configuration or run, or a setting or a value does not fit.
        """
        forked = self.fork()
        file = forked[0].config_path if forked else find_config(Path(str(self.config)), self.path.parent)
        base, problems = load_config(file), dict[str, str]()
        fixed = [override(key, values[0]) for key, values in self.settings.items() if _is_fixed(values)]
        tried = [(str(self.path), fixed)]
        for key, values in self.settings.items():
            ends = (values.low, values.high) if isinstance(values, Range) else values
            tried += [(self.places[key], [*fixed, override(key, value)]) for value in ends if not _is_fixed(values)]
        for place, overrides in tried:
            try:
                changes = config_changes(base, load_config(file, overrides))
                if forked:
                    require_allowed([classify_change(change) for change in changes], str(self.source))
            except ConfigError as error:
                problems.setdefault(place, f"{place}: {str(error).splitlines()[0]}")
                if overrides is fixed:
                    break
        if problems:
            raise ConfigError("\n".join(problems.values()))
        return base


def varied(values: Mapping[str, Any]) -> list[str]:
    """Return the settings of a record's ``space`` that have more than one value."""
    return [key for key, value in values.items() if isinstance(value, dict) or len(value) > 1]


def override(key: str, value: Value) -> str:
    """Return a setting as ``--set`` takes it."""
    return f"{key}={value if isinstance(value, str) else json.dumps(value)}"


def short_keys(keys: Sequence[str]) -> dict[str, str]:
    """Return for each dotted key its last part, or all of it where another one ends alike."""
    ends = [key.rpartition(".")[2] for key in keys]
    return {key: end if ends.count(end) == 1 else key for key, end in zip(keys, ends, strict=True)}


def shown(value: Value) -> str:
    """Return a value for people: four digits of a number."""
    return f"{value:.4g}" if isinstance(value, float) else value if isinstance(value, str) else json.dumps(value)


def _is_fixed(values: Range | Choices) -> TypeGuard[Choices]:
    return not isinstance(values, Range) and len(values) == 1


def _text(data: dict[str, Any], key: str, path: Path) -> str | None:
    if not isinstance(value := data.get(key), str | None):
        raise ConfigError(f"{path}: {key}: expected text, got {value!r}")
    return value


def _setting(key: str, values: Any, place: str) -> Range | Choices:
    if isinstance(values, dict):
        try:
            return Range.model_validate(values)
        except ValidationError as error:
            lines = lines_for(error, Origins(f"{place}: {key}"), Range)
            raise ConfigError("\n".join(lines)) from None
    choices = tuple(map(_choice, values if isinstance(values, list) else [values]))
    if not choices or len(set(map(repr, choices))) < len(choices):
        raise ConfigError(f"{place}: {key}: expected a list of values, each once, or {{low: ..., high: ...}}")
    return choices


def _choice(value: Any) -> Value:
    return json.dumps(value) if isinstance(value, list | dict) else value
