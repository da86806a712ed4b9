"""Turns pydantic's validation errors into lines for people: where the value stands, its key, what is wrong."""

import re
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from hifitse.config.model import PluginConfig
from hifitse.config.parsing import annotations
from hifitse.config.parsing.yaml import KeyPath, show_key
from hifitse.config.schema import Config
from hifitse.config.section import Section

_BOUNDS = {
    "greater_than": "above",
    "greater_than_equal": "at least",
    "less_than": "below",
    "less_than_equal": "at most",
}


@dataclass
class Origins:
    """Where each value was set: ``configs/demo.yaml:14``, or the override as it was typed, ``--set seed=1``."""

    source: str
    """Name of the file, or whatever else the values come from."""
    places: dict[KeyPath, str] = field(default_factory=dict)

    def replace(self, path: KeyPath, places: dict[KeyPath, str]) -> None:
        """Note that everything at and below a path was replaced, by what stands at these places."""
        self.places = {key: place for key, place in self.places.items() if key[: len(path)] != path} | places

    def line(self, message: str, path: KeyPath, mentioned: list[KeyPath]) -> str:
        """Return the whole line about a problem at ``path``.

        A problem between several keys is put down to the ``mentioned`` key that was overridden, or else to the
        first one in the file.
        """
        blamed = [self.places[key] for key in mentioned if key in self.places]
        blamed.sort(key=lambda place: not place.startswith("--set "))
        above = [path[:length] for length in range(len(path), 0, -1)]
        place = next(iter([*blamed, *(self.places[key] for key in above if key in self.places)]), self.source)
        key = show_key(path)
        is_named = not key or place.startswith(f"--set {key}=")
        return f"{place}: {message}" if is_named else f"{place}: {key}: {message}"


@dataclass(frozen=True)
class _Found:
    """One validation error, located in the configuration."""

    error: ErrorDetails
    path: KeyPath
    annotation: Any
    """What the value at ``path`` may be; None for an unknown key."""
    section: type[Section]
    """The innermost section on the way."""
    description: str | None
    """What the key means."""
    holder: Any
    """What the list that the value stands in may be."""
    branch: KeyPath | None
    """The field whose alternatives pydantic tried one after the other, if that is where it failed."""


def lines_for(error: ValidationError, origins: Origins, root: type[Section] = Config) -> list[str]:
    """Return one line for each problem with what ``root`` was to be made of."""
    found = [_locate(details, root) for details in error.errors()]
    return list(dict.fromkeys(origins.line(*_message(item)) for item in found if not _is_echo(item, found)))


def _is_echo(item: _Found, found: list[_Found]) -> bool:
    """Whether another problem says the same, better."""
    if item.error["type"] == "too_short":
        # pydantic does not count items that are wrong.
        return any(len(other.path) > len(item.path) and other.path[: len(item.path)] == item.path for other in found)
    if item.branch is None or item.path != item.branch or not _is_type_error(item.error):
        return False
    rivals = [other for other in found if other.branch == item.branch]
    return any(other.path != item.branch or not _is_type_error(other.error) for other in rivals)


def _locate(error: ErrorDetails, root: type[Section]) -> _Found:
    """Follow pydantic's location through the annotations; it contains union tags, which are no keys."""
    path: KeyPath = ()
    annotation: Any = root
    section: type[Section] = root
    branch: KeyPath | None = None
    description: str | None = None
    holder: Any = None
    for part in error["loc"]:
        found = annotations.sections(annotation)
        if len(found) > 1:
            annotation = section = next(candidate for candidate in found if annotations.kind_of(candidate) == part)
        elif found and (others := annotations.plain(annotation)):
            annotation = found[0] if part == found[0].__name__ else others[0]
        elif found:
            section = found[0]
            path = (*path, part)
            known = section.model_fields.get(str(part))
            annotation, description = (known.annotation, known.description) if known else (None, None)
        elif isinstance(part, int):
            path = (*path, part)
            holder, annotation = annotation, annotations.item_type(annotation, part)
        else:
            branch = branch or path
    if len(found := annotations.sections(annotation)) == 1:
        section = found[0]
    return _Found(error, path, annotation, section, description, holder, branch)


def _is_type_error(error: ErrorDetails) -> bool:
    return error["type"].endswith(("_type", "_parsing")) or error["type"] in ("int_from_float", "literal_error")


def _message(found: _Found) -> tuple[str, KeyPath, list[KeyPath]]:
    """Return what is wrong, the key to blame, and for a problem between keys those that it mentions."""
    error, path = found.error, found.path
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    if kind == "value_error":
        return _rule_message(str(context["error"]), path, found.section)
    if kind == "extra_forbidden":
        message = annotations.unknown("key", str(path[-1]), found.section.model_fields)
        if found.section is PluginConfig:
            # Its class has the keys.
            message = "the network of this kind has no such key"
    elif kind == "missing" and isinstance(path[-1], int):
        message, path = f"expected {annotations.describe(found.holder)}, got {len(value)}", path[:-1]
    elif kind == "missing":
        message = f"missing; {found.description}" if found.description else "missing"
    elif kind in ("union_tag_invalid", "union_tag_not_found"):
        given = value.get("kind") if isinstance(value, dict) else None
        kinds = [annotations.kind_of(section) for section in annotations.sections(found.annotation)]
        path = (*path, "kind") if isinstance(value, dict) else path
        message = f"expected {annotations.either(map(repr, kinds))}, " + (
            "but it is missing" if given is None else f"got {_show(given)}"
        )
    elif kind in _BOUNDS:
        bound = next(number for name, number in context.items() if name in ("gt", "ge", "lt", "le"))
        message = f"must be {_BOUNDS[kind]} {bound:{'g' if isinstance(bound, float) else ''}}, got {_short(str(value))}"
    elif kind == "multiple_of":
        message = f"must be a multiple of {context['multiple_of']}, got {_short(str(value))}"
    elif kind == "finite_number":
        message = f"must be a finite number, got {_short(str(value))}"
    elif kind in ("too_short", "too_long"):
        most = "at most " if annotations.is_open_list(found.annotation) else ""
        number = f"at least {context['min_length']}" if kind == "too_short" else f"{most}{context['max_length']}"
        message = f"expected {number} in the list, got {context['actual_length']}"
    elif kind == "string_pattern_mismatch":
        message = f"must be lower-case letters, digits, '-' and '_', got {_show(value)}"
    elif _is_type_error(error) and found.annotation is not None:
        message = f"expected {annotations.describe(found.annotation)}, got {_show(value)}"
    else:
        message = error["msg"]
    return message, path, []


def _rule_message(message: str, path: KeyPath, section: type[Section]) -> tuple[str, KeyPath, list[KeyPath]]:
    """Split a message of our own validators: a leading ``key:`` is the key that is wrong."""
    words = re.findall(r"[a-z_][a-z0-9_.]*[a-z0-9_]", message)
    mentioned = [(*path, *word.split(".")) for word in words if word.split(".")[0] in section.model_fields]
    key, colon, rest = message.partition(": ")
    if colon and key in section.model_fields:
        return rest, (*path, key), mentioned
    return message, path, mentioned


def _show(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a section"
    return _short(repr(value))


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."
