"""YAML in and out for configurations: the YAML 1.2 core rules, no duplicate keys, a line for every key.

PyYAML follows YAML 1.1, where ``1e-3`` is text, ``010`` is 8, ``1:30`` is 90 and ``no`` is false. Here only
``true``/``false``, ``null``/``~``, decimal, 0x and 0o integers and ordinary floats are special. Integers may
have underscores (``500_000``). Tags (``!!bool``) are not used, and there are limits: what a few lines can unfold to by
aliases, for instance, would fill any memory.
"""

import re
from typing import Any

import yaml

from hifitse.errors import ConfigError
from hifitse.storage import is_text

KeyPath = tuple[str | int, ...]
"""Where a value stands: section and key names, and positions in lists counted from 0."""
MOST_BYTES = 2**17
"""Of a document."""
_MOST_VALUES = 10_000
"""In a document, aliases unfolded."""
_DEEPEST = 20
_LONGEST_NUMBER = 50

_CORE_RULES = {
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": (r"[-+]?[0-9][0-9_]*|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    "float": (
        r"[-+]?(\.[0-9]+|[0-9][0-9_]*\.[0-9]*|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
}


class _Untagged(yaml.parser.Parser, yaml.composer.Composer):
    """Composes what has no tags and is not nested too deeply."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "tag", None):
            raise yaml.composer.ComposerError(None, None, f"the tag {event.tag} is not used here", event.start_mark)
        if self.depth > _DEEPEST:
            raise yaml.composer.ComposerError(None, None, "nested too deeply", event.start_mark)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _Loader(_Untagged, yaml.SafeLoader):
    """SafeLoader with the rules above."""

    yaml_implicit_resolvers: dict[str, Any] = {}

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        text = self.construct_scalar(node)
        return int(text, 0) if text[:2] in ("0x", "0o") else int(text)


class _TextLoader(_Untagged, yaml.BaseLoader):
    """Reads every scalar as the text it is; the configuration decides what it means."""


class _Dumper(yaml.SafeDumper):
    """Writes what _Loader reads: lists of plain values on one line, sections as blocks."""

    yaml_implicit_resolvers: dict[str, Any] = {}

    def represent_items(self, items: list[Any]) -> yaml.Node:
        return self.represent_sequence(
            "tag:yaml.org,2002:seq", items, flow_style=not any(isinstance(item, dict) for item in items)
        )

    def represent_text(self, text: str) -> yaml.Node:
        # PyYAML folds these unusual line ends away unless they are escaped.
        style = '"' if any(character in text for character in "\x85\u2028\u2029\ufeff") else None
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
_Dumper.add_representer(list, _Dumper.represent_items)
_Dumper.add_representer(str, _Dumper.represent_text)
for _tag, (_pattern, _first) in _CORE_RULES.items():
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first)


def read_yaml(text: str | bytes, source: str, as_text: bool = False) -> tuple[Any, dict[KeyPath, int]]:
    """Return the document in ``text`` and the line, from 1, of each key path in it.

    With ``as_text``, numbers, booleans and null stay the text that was written.

    Raises:
        ConfigError: it is not YAML, or a key stands twice, is no text, or contains itself; the message has a line
            for each problem, beginning with ``source`` and the line.
    """
    lines: dict[KeyPath, int] = {}
    problems: list[str] = []
    if len(text) > MOST_BYTES:
        raise ConfigError(f"{source}: larger than {MOST_BYTES // 1024} KiB; a configuration is a few")
    try:
        loader = _TextLoader(text) if as_text else _Loader(text)
        root = loader.get_single_node()
        if root is None:
            return None, {}
        _walk(root, (), (), lines, problems)
        if not problems:
            return loader.construct_document(root), lines
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{source}:{mark.line + 1}" if mark else source
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ConfigError(f"{place}: not valid YAML: {problem}") from None
    raise ConfigError("\n".join(f"{source}:{problem}" for problem in problems))


def _walk(
    node: yaml.Node, path: KeyPath, parents: tuple[yaml.Node, ...], lines: dict[KeyPath, int], problems: list[str]
) -> None:
    """Note the line of everything below ``node``, and what a plain load would accept in silence."""
    line = node.start_mark.line + 1
    if len(lines) > _MOST_VALUES:
        raise yaml.composer.ComposerError(
            None, None, f"more than {_MOST_VALUES} values, with what aliases (*name) stand for", node.start_mark
        )
    if any(node is parent for parent in parents):
        problems.append(f"{line}: {show_key(path)}: refers to itself")
    elif isinstance(node, yaml.ScalarNode):
        if not is_text(node.value):
            problems.append(f"{line}: {show_key(path) or 'here'}: holds a NUL or half a character; write plain text")
        elif node.tag.endswith((":int", ":float")) and len(node.value) > _LONGEST_NUMBER:
            problems.append(f"{line}: {show_key(path)}: a number of {len(node.value)} digits")
    elif isinstance(node, yaml.MappingNode):
        for key_node, value_node in node.value:
            key, key_line = key_node.value, key_node.start_mark.line + 1
            if not isinstance(key, str) or not key_node.tag.endswith(":str"):
                problems.append(f"{key_line}: {show_key(path) or 'here'}: a key must be text")
                continue
            below = (*path, key)
            if below in lines:
                problems.append(f"{key_line}: {show_key(below)}: given twice, first in line {lines[below]}")
            lines[below] = key_line
            _walk(value_node, below, (*parents, node), lines, problems)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            lines[(*path, index)] = item.start_mark.line + 1
            _walk(item, (*path, index), (*parents, node), lines, problems)


def write_yaml(data: Any) -> str:
    """Return ``data``, made of dicts, lists and plain values, as YAML that ``read_yaml`` reads back equal."""
    text: str = yaml.dump(
        data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110, default_flow_style=False
    )
    return text


def show_key(path: KeyPath) -> str:
    """Return a key path for people: ``curriculum[1].until``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")
