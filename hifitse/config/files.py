"""Reads and writes configurations. Every problem names its file, line and key, or its override."""

import copy
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hifitse.config.data import DataConfig, SceneSet
from hifitse.config.optimizer import as_of_today
from hifitse.config.parsing.annotations import item_type, list_type, options
from hifitse.config.parsing.messages import Origins, lines_for
from hifitse.config.parsing.overrides import apply_override, as_typed
from hifitse.config.parsing.yaml import MOST_BYTES, KeyPath, read_yaml, write_yaml
from hifitse.config.schema import Config
from hifitse.config.section import Section
from hifitse.errors import ConfigError
from hifitse.storage import read_bytes, write_text

Data = dict[str, Any]

BUNDLED = Path(__file__).parents[1] / "bundled"
"""What comes with hifitse: ``configs/``, and the recordings of the demo in ``demo_corpus/``."""
_VARIABLES = {"HIFITSE_DEMO": str(BUNDLED / "demo_corpus")}
"""Variables that paths in a configuration may use besides those of the environment."""
_OF_THIS_MACHINE = ("on_event",)
"""Settings that no file with weights brings or takes along, and no page shows."""
_HAVE_CORPORA: dict[str, type[Section]] = {"data": DataConfig, "validation": SceneSet, "test": SceneSet}
_PATH_LISTS = [
    (key, name)
    for key, section in _HAVE_CORPORA.items()
    for name, field in section.model_fields.items()
    if list_type(field.annotation) and Path in options(item_type(field.annotation, 0))
]
"""Section and key of what names corpora."""


def bundled_names() -> list[str]:
    """Return the names of the configurations that come with hifitse."""
    return sorted(path.stem for path in (BUNDLED / "configs").glob("*.yaml"))


def find_config(path: Path, folder: Path = Path()) -> Path:
    """Return the file that is meant: a path from a folder on, or the name of a bundled configuration.

    Raises:
        ConfigError: there is neither.
    """
    if (folder / path).exists() and not (folder / path).is_dir():
        return folder / path
    if str(path) in bundled_names():
        return BUNDLED / "configs" / f"{path}.yaml"
    if (folder / path).is_dir():
        raise ConfigError(f"{path}: is a folder; name the file of the configuration")
    where = "" if path.is_absolute() else f" in {(Path.cwd() / folder).resolve()}"
    raise ConfigError(f"{path}: no such configuration{where}; {', '.join(bundled_names())} come with hifitse")


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Return the configuration in a YAML file, with overrides such as ``loss.ta_weight=0.1`` applied in order.

    ``extends: demo`` (a bundled configuration, or a path) fills in what the file does not say. Relative paths of
    corpora start from the folder of the file that they stand in, those in overrides from the working directory; all
    are absolute in the result, ``~`` and ``${VARIABLE}`` expanded. ``curriculum.tp.until=150`` addresses a phase by
    its name, ``model.kind=compact`` starts from the defaults of that kind if the file has another.

    Raises:
        ConfigError: the file is missing or is no YAML, or a key or value is wrong; the message has a line for each
            problem: ``configs/demo.yaml:14: loss.ta_weigth: unknown key; did you mean 'ta_weight'?``
    """
    data, origins = _read(find_config(Path(path)), ())
    return _validated(data, origins, overrides)


def from_data(data: Data, source: str, overrides: Sequence[str] = ()) -> Config:
    """Return the configuration that ``to_recorded`` made ``data`` from, with overrides applied.

    A command in it is left out: files with weights come from anybody, and must not make this machine run something.

    Raises:
        ConfigError: it does not fit; each line of the message begins with ``source``.
    """
    recorded = {key: value for key, value in data.items() if key not in _OF_THIS_MACHINE}
    return _validated(copy.deepcopy(recorded), Origins(source), overrides)


def _validated(data: Data, origins: Origins, overrides: Sequence[str]) -> Config:
    problems = []
    if "train" in data:
        data["train"] = as_of_today(data["train"])
    for override in overrides:
        try:
            path = apply_override(data, override)
            origins.replace(path, {path: as_typed(override)})
            # Whatever is relative now came with the override.
            _make_absolute(data, Path.cwd(), as_typed(override))
        except ConfigError as error:
            problems.append(str(error))
    try:
        config = Config.model_validate(data)
    except ValidationError as error:
        problems += lines_for(error, origins)
    if problems:
        raise ConfigError("\n".join(problems))
    return config


def _read(path: Path, extended_by: tuple[Path, ...]) -> tuple[Data, Origins]:
    """Return what a file says, what it extends included, and where each value stands."""
    try:
        content = read_bytes(path, MOST_BYTES)
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the configuration: {error.strerror}") from None
    data, lines = read_yaml(content, str(path))
    if not isinstance(data, dict | None):
        raise ConfigError(f"{path}: expected sections such as 'data:' and 'model:', got {type(data).__name__}")
    data = dict(data or {})
    origins = Origins(str(path), {key: f"{path}:{line}" for key, line in lines.items()})
    _make_absolute(data, path.parent, str(path))
    base = _base(data.pop("extends", None), path, origins, extended_by)
    if base is None:
        return data, origins
    below, below_origins = _read(base, (path.resolve(), *extended_by))
    _merge(below, data, below_origins, origins, ())
    return below, Origins(str(path), below_origins.places)


def _base(extends: Any, path: Path, origins: Origins, extended_by: tuple[Path, ...]) -> Path | None:
    """Return the file that a configuration extends, if any."""
    try:
        if extends is None:
            return None
        if not isinstance(extends, str):
            raise ConfigError(f"expected the name of a configuration, got {extends!r}")
        base = find_config(Path(_expanded(extends)), path.parent)
        if base.resolve() in (path.resolve(), *extended_by):
            raise ConfigError(f"{extends} extends this file in turn")
        return base
    except ConfigError as error:
        raise ConfigError(f"{origins.places[('extends',)]}: extends: {error}") from None


def _merge(base: Data, data: Data, base_origins: Origins, origins: Origins, path: KeyPath) -> None:
    """Put ``data`` over ``base``: sections are merged, all else is replaced, a section of another kind as well."""
    for key, value in data.items():
        old, here = base.get(key), (*path, key)
        if isinstance(old, dict) and isinstance(value, dict) and value.get("kind", old.get("kind")) == old.get("kind"):
            _merge(old, value, base_origins, origins, here)
        else:
            base[key] = value
            base_origins.replace(here, {k: v for k, v in origins.places.items() if k[: len(here)] == here})


def _make_absolute(data: Data, folder: Path, source: str) -> None:
    for key, name in _PATH_LISTS:
        section = data.get(key)
        if not isinstance(section, dict):
            continue
        entries = section.get(name)
        if isinstance(entries, str | dict):
            entries = [entries]
        if isinstance(entries, list):
            try:
                section[name] = [_absolute(entry, folder) for entry in entries]
            except ConfigError as error:
                raise ConfigError(f"{source}: {key}.{name}: {error}") from None


def _absolute(entry: Any, folder: Path) -> Any:
    """Return a path, or a section with a path in it, with the path absolute; anything else as it is."""
    if isinstance(entry, dict) and "path" in entry:
        return {**entry, "path": _absolute(entry["path"], folder)}
    if not isinstance(entry, str) or not entry:
        return entry
    expanded = _expanded(entry)
    # Not resolve(): a link to a corpus may move, and should be followed when the corpus is read.
    return expanded if os.path.isabs(expanded) else os.path.abspath(folder / expanded)


def _expanded(path: str) -> str:
    """Return a path with ``~``, ``$NAME`` and ``${NAME}`` replaced."""

    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        found = os.environ.get(name, _VARIABLES.get(name))
        if found is None and match[1]:
            raise ConfigError(f"{path}: there is no environment variable {name}; set it, or write the path out")
        # Without braces it may as well be part of a name.
        return match[0] if found is None else found

    return os.path.expanduser(re.sub(r"\$(?:\{(\w+)\}|([A-Za-z_]\w*))", value, path))


def dump_config(config: Config) -> str:
    """Return the configuration as YAML, every setting in it, that loads back to an equal one."""
    return write_yaml(to_data(config))


def to_data(config: Config) -> Data:
    """Return the configuration as dicts, lists and plain values that JSON can hold."""
    return config.model_dump(mode="json")


def to_recorded(config: Config) -> Data:
    """Return the same without what is nobody else's business: the commands of this machine. For what others get."""
    return {key: value for key, value in to_data(config).items() if key not in _OF_THIS_MACHINE}


def write_config(path: Path, config: Config) -> None:
    """Write a configuration as YAML, every setting in it."""
    write_text(path, dump_config(config))
