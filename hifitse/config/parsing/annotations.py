"""What the configuration's type annotations say: which keys a section has, what a value may be, in plain words."""

import difflib
import types
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from hifitse.config.model import PLUGIN_KIND, PluginConfig, plugin_class
from hifitse.config.section import Section
from hifitse.errors import ConfigError

_WORDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    Path: "a path",
    type(None): "null",
}


def options(annotation: Any) -> list[Any]:
    """Return the alternatives of an annotation: the members of a union, without their constraints."""
    if get_origin(annotation) is Annotated:
        return options(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [option for member in get_args(annotation) for option in options(member)]
    return [annotation]


def sections(annotation: Any) -> list[type[Section]]:
    """Return the sections that a value of this annotation can be."""
    return [option for option in options(annotation) if isinstance(option, type) and issubclass(option, Section)]


def plain(annotation: Any) -> list[Any]:
    """Return the other alternatives, but null: what may stand instead of a section."""
    return [option for option in options(annotation) if option is not type(None) and option not in sections(annotation)]


def kind_of(section: type[Section]) -> str:
    """Return the ``kind`` that selects one of several sections, e.g. grid."""
    kinds = get_args(section.model_fields["kind"].annotation)
    return str(kinds[0]) if kinds else PLUGIN_KIND


def section_for(annotation: Any, value: Any) -> type[Section] | None:
    """Return the section that describes ``value``, chosen by its ``kind`` where there are several, else None."""
    found = sections(annotation)
    if len(found) < 2:
        return found[0] if found else None
    kind = value.get("kind") if isinstance(value, Mapping) else None
    if PluginConfig in found and isinstance(kind, str) and ":" in kind:
        try:
            of_class: type[Section] = plugin_class(kind).config_class
        except ValueError as error:
            raise ConfigError(f"model.{error}") from None
        return of_class
    return next((section for section in found if kind_of(section) == kind), None)


def list_type(annotation: Any) -> Any:
    """Return the ``tuple[...]`` among the alternatives, or None."""
    return next((option for option in options(annotation) if get_origin(option) is tuple), None)


def item_type(annotation: Any, index: int) -> Any:
    """Return the annotation of one item of a list, or None if there can be no such item."""
    args = get_args(list_type(annotation))
    if args[-1:] == (...,):
        return args[0]
    return args[index] if index < len(args) else None


def is_open_list(annotation: Any) -> bool:
    """Whether a value is a list of any length."""
    return get_args(list_type(annotation))[-1:] == (...,)


def describe(annotation: Any) -> str:
    """Return what a value may be: ``a whole number or null``."""
    return either(word for option in options(annotation) for word in _describe_one(option))


def _describe_one(option: Any) -> list[str]:
    if get_origin(option) is Literal:
        return [repr(value) for value in get_args(option)]
    if get_origin(option) is tuple:
        length = len(get_args(option))
        return ["a list" if is_open_list(option) else f"a list of {length}"]
    if isinstance(option, type) and issubclass(option, Section):
        return ["a section of 'key: value' lines"]
    return [_WORDS.get(option, str(option))]


def setting_keys(section: type[Section], prefix: str = "") -> Iterator[str]:
    """Yield the dotted key of every setting: ``loss.ta_weight``. Of alternatives all keys are there."""
    for name, field in section.model_fields.items():
        inside = sections(field.annotation)
        if not inside:
            yield prefix + name
        for part in inside:
            yield from setting_keys(part, f"{prefix}{name}.")


def either(words: Iterable[str]) -> str:
    """Return ``a, b or c``, each word once."""
    *most, last = dict.fromkeys(words)
    return f"{', '.join(most)} or {last}" if most else last


def unknown(what: str, given: str, known: Iterable[str]) -> str:
    """Return that ``given`` is unknown, with the nearest known name, or else all of them."""
    names = list(known)
    near = difflib.get_close_matches(given, names, n=1)
    return f"unknown {what}; " + (f"did you mean '{near[0]}'?" if near else f"known here: {', '.join(names)}")
