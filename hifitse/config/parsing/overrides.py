"""Overrides from the command line, ``key.path=value``: what a value means is for the configuration to say."""

from typing import Any

from pydantic_core import to_jsonable_python

from hifitse.config.parsing import annotations as tree
from hifitse.config.parsing.yaml import KeyPath, read_yaml
from hifitse.config.schema import Config
from hifitse.errors import ConfigError


def apply_override(data: dict[str, Any], override: str) -> KeyPath:
    """Set one value in ``data``, the configuration as read from a file and not yet validated.

    Values stay text where the configuration takes text for what it
    means; a list or a section in ``[...]`` or ``{...}`` is read as YAML, a single value for a list replaces the
    list by that one. Setting another ``model.kind`` drops the settings of the old kind.

    Returns:
        The key path that was set.

    Raises:
        ConfigError: no ``=``, an unknown key or name, null where something must stand, or bad YAML.
    """
    key, equals, text = override.partition("=")
    key = key.strip()
    if not equals or not key:
        raise ConfigError(f"--set {override}: expected KEY=VALUE, for example --set train.batch_size=4")
    try:
        return _set(data, key.split("."), text.strip())
    except _Problem as problem:
        raise ConfigError(f"--set {override}: {problem}") from None


class _Problem(Exception):
    """What is wrong with one override."""


def _set(data: dict[str, Any], parts: list[str], text: str) -> KeyPath:
    annotation: Any = Config
    holder: Any = data
    path: KeyPath = ()
    step: str | int
    for position, part in enumerate(parts):
        is_last = position == len(parts) - 1
        if tree.sections(annotation):
            if part == "kind" and len(tree.sections(annotation)) > 1 and is_last:
                if holder.get("kind") == text:
                    return (*path, part)
                holder.clear()
                holder["kind"] = text
                return path
            section = tree.section_for(annotation, holder)
            if section is None:
                kinds = tree.either(tree.kind_of(option) for option in tree.sections(annotation))
                raise _Problem(f"set {'.'.join(parts[:position])}.kind first, to {kinds}")
            if part not in section.model_fields:
                raise _Problem(tree.unknown("key", part, section.model_fields))
            field = section.model_fields[part]
            annotation, step = field.annotation, part
            if not is_last and holder.get(part) is None:
                # The rest of a section that only the defaults know has to stay what it is.
                default = None if field.is_required() else field.get_default(call_default_factory=True)
                holder[part] = to_jsonable_python(default) if default is not None else {}
        elif isinstance(holder, list) and tree.sections(tree.item_type(annotation, 0)):
            index = step = _position(holder, part)
            annotation = tree.item_type(annotation, index)
        else:
            raise _Problem(f"{'.'.join(parts[:position])} is {tree.describe(annotation)}, it has no key '{part}'")
        path = (*path, step)
        if is_last:
            holder[step] = _typed(annotation, text)
        else:
            holder = holder[step]
            if tree.sections(annotation) and not isinstance(holder, dict):
                raise _Problem(f"{'.'.join(parts[: position + 1])} must be {tree.describe(annotation)}, not {holder!r}")
    return path


def _position(items: list[Any], part: str) -> int:
    """Return where a list of sections has the one of that name, or of that number counted from 0."""
    names = [
        str(item["name"]) if isinstance(item, dict) and "name" in item else str(number)
        for number, item in enumerate(items)
    ]
    if part in names:
        return names.index(part)
    if part.isdecimal() and int(part) < len(items):
        return int(part)
    raise _Problem(tree.unknown(f"entry '{part}'", part, names))


def _typed(annotation: Any, raw: Any) -> Any:
    """Return what was typed in the shape that the annotation asks for; pydantic converts and checks the rest."""
    if isinstance(raw, list):
        return [_typed(tree.item_type(annotation, index), item) for index, item in enumerate(raw)]
    if isinstance(raw, dict):
        section = tree.section_for(annotation, raw)
        fields = section.model_fields if section else {}
        return {key: _typed(fields[key].annotation, value) if key in fields else value for key, value in raw.items()}
    choices = tree.options(annotation)
    if raw == "null" and annotation is not None:
        if type(None) in choices:
            return None
        empty = "; [] is the empty list" if tree.is_open_list(annotation) else ""
        raise _Problem(f"expected {tree.describe(annotation)}, not null{empty}")
    if raw[:1] in ("[", "{") and (tree.list_type(annotation) or tree.sections(annotation)):
        try:
            return _typed(annotation, read_yaml(raw, "value", as_text=True)[0])
        except ConfigError as error:
            raise _Problem(str(error)) from None
    takes_text = any(tree.list_type(choice) is None for choice in choices if choice is not type(None))
    if tree.is_open_list(annotation) and not takes_text:
        return [_typed(tree.item_type(annotation, 0), raw)]
    return raw
