"""Overrides from the command line, ``key.path=value``: they stay text, and the configuration says what it means."""

from typing import Any

from pydantic_core import to_jsonable_python

from hifitse.config.parsing import annotations
from hifitse.config.parsing.yaml import KeyPath, read_yaml
from hifitse.config.schema import Config
from hifitse.errors import ConfigError
from hifitse.storage import is_text

_LONGEST_SHOWN = 200


def as_typed(override: str) -> str:
    """Return an override as messages name it."""
    shown = override if len(override) <= _LONGEST_SHOWN else f"{override[:_LONGEST_SHOWN]}..."
    return f"--set {shown}"


def apply_override(data: dict[str, Any], override: str) -> KeyPath:
    """Set one value in ``data``, the configuration as read from a file and not yet validated.

    A list or a section in ``[...]`` or ``{...}`` is read as YAML. Setting another ``model.kind`` drops the settings of
    the old kind.

    Returns:
        The key path that was set.

    Raises:
        ConfigError: no ``=``, an unknown key or name, or bad YAML.
    """
    key, equals, text = override.partition("=")
    parts = key.strip().split(".")
    if not equals or not parts[0]:
        raise ConfigError(f"{as_typed(override)}: expected KEY=VALUE, for example --set train.batch_size=4")
    if not is_text(override):
        raise ConfigError(f"{as_typed(override)}: is not UTF-8; rename what it names")
    annotation: Any = Config
    holder: Any = data
    path: KeyPath = ()
    try:
        for number, part in enumerate(parts[:-1], start=1):
            step, annotation = _step(annotation, holder, part, ".".join(parts[: number - 1]))
            path, holder = (*path, step), holder[step]
            if annotations.sections(annotation) and not isinstance(holder, dict):
                expected = annotations.describe(annotation)
                raise ConfigError(f"{'.'.join(parts[:number])} must be {expected}, not {holder!r}")
        value = _value(text.strip())
        if parts[-1] == "kind" and len(annotations.sections(annotation)) > 1:
            if holder.get("kind") == value:
                return (*path, "kind")
            holder.clear()
            holder["kind"] = value
            return path
        step, _ = _step(annotation, holder, parts[-1], ".".join(parts[:-1]))
        holder[step] = value
        return (*path, step)
    except ConfigError as error:
        raise ConfigError(f"{as_typed(override)}: {error}") from None


def _step(annotation: Any, holder: Any, part: str, before: str) -> tuple[str | int, Any]:
    """Return the key or position that one part of a key path means, and what may stand there."""
    if annotations.sections(annotation):
        section = annotations.section_for(annotation, holder)
        if section is None:
            kinds = annotations.either(annotations.kind_of(option) for option in annotations.sections(annotation))
            raise ConfigError(f"set {before}.kind first, to {kinds}")
        if part not in section.model_fields:
            raise ConfigError(annotations.unknown("key", part, section.model_fields))
        field = section.model_fields[part]
        if holder.get(part) is None:
            # The rest of a section that only the defaults know has to stay what it is.
            default = None if field.is_required() else field.get_default(call_default_factory=True)
            holder[part] = to_jsonable_python(default) if default is not None else {}
        return part, field.annotation
    if isinstance(holder, list) and annotations.sections(annotations.item_type(annotation, 0)):
        position = _position(holder, part)
        return position, annotations.item_type(annotation, position)
    raise ConfigError(f"{before} is {annotations.describe(annotation)}, it has no key '{part}'")


def _position(items: list[Any], part: str) -> int:
    """Return where a list of sections has the one of that name, or of that number counted from 0."""
    names = [str(item.get("name", i)) if isinstance(item, dict) else str(i) for i, item in enumerate(items)]
    if part in names:
        return names.index(part)
    if part.isdecimal() and int(part) < len(items):
        return int(part)
    raise ConfigError(annotations.unknown(f"entry '{part}'", part, names))


def _value(text: str) -> Any:
    return _with_nulls(read_yaml(text, "value", as_text=True)[0] if text[:1] in ("[", "{") else text)


def _with_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_nulls(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_with_nulls(part) for part in value]
    return None if value == "null" else value
