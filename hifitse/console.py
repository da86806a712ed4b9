"""Two consoles: data goes to stdout, everything said to people goes to stderr."""

import json
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def say(message: str) -> None:
    """Tell the user something, on stderr, without wrapping lines of a pipe."""
    err.print(escape(message), soft_wrap=True)


def warn(message: str) -> None:
    err.print(f"[yellow]warning:[/] {escape(message)}", soft_wrap=True)


def print_json(data: Any) -> None:
    """Write data to stdout as JSON; NaN and infinity, which JSON has not, become null."""
    typer.echo(json.dumps(_finite(data), indent=2))


def _finite(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    if isinstance(data, float) and (data != data or data in (float("inf"), float("-inf"))):
        return None
    return data
