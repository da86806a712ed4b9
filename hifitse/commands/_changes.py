"""What a resume says about the settings that changed."""

from collections.abc import Sequence
from typing import Any

from hifitse.commands._tables import new_table
from hifitse.config.changes import ClassifiedChange
from hifitse.console import cell, err, info


def show_changes(changes: Sequence[ClassifiedChange], step: int) -> None:
    """Show every changed setting on stderr: a table on a terminal, a line each in a pipe."""
    if not err.is_terminal:
        for change in changes:
            note = f": {change.note}" if change.note else ""
            info(f"changed: {change.key}: {_text(change.old)} -> {_text(change.new)} ({change.change_class}{note})")
    elif changes:
        table = new_table("changed", f"until {step}", "from now on", "")
        for change in changes:
            text = ": ".join(part for part in (change.change_class, change.note) if part)
            color = "yellow" if change.change_class == "matters" else "dim"
            table.add_row(
                cell(change.key), cell(_text(change.old)), cell(_text(change.new)), f"[{color}]{cell(text)}[/]"
            )
        err.print(table)


def _text(value: Any) -> str:
    return "null" if value is None else str(value)
