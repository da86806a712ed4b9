"""What a resume says and notes about the settings that changed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from hifitse.config.changes import Judged, judge_change, require_allowed
from hifitse.config.files import Change, config_changes, from_data
from hifitse.config.schema import Config
from hifitse.console import err, say

if TYPE_CHECKING:
    from hifitse.checkpoint.file import Checkpoint
    from hifitse.experiment import Experiment
    from hifitse.runs.run import Run


def compare_config(checkpoint: "Checkpoint", settings: Config) -> list[Judged]:
    """Return what changed since a checkpoint was saved.

    Raises:
        ConfigError: with that change the checkpoint cannot be continued.
    """
    source = f"the checkpoint of step {checkpoint.header.step}"
    old = from_data(checkpoint.header.config, source)
    changes = [judge_change(change) for change in config_changes(old, settings)]
    require_allowed(changes, source)
    return changes


def compare_data(checkpoint: "Checkpoint", experiment: "Experiment") -> list[Judged]:
    """Return the change of the corpus since a checkpoint was saved, if there is one."""
    old, new = checkpoint.header.data_fingerprint, experiment.corpus.fingerprint
    # A checkpoint of the original script does not know its corpus.
    return [judge_change(Change("data fingerprint", old, new))] if old not in ("", new) else []


def note_changes(run: "Run", step: int, changes: Sequence[Judged]) -> None:
    """Note the changes in the run, before the training that they apply to."""
    from hifitse.runs.events import Events

    if changes:
        message = f"changed at step {step}: {', '.join(change.key for change in changes)}"
        Events(run, say).note("config_changed", step, message, changes=[change.to_json() for change in changes])


def show_changes(changes: Sequence[Judged], step: int) -> None:
    """Show every changed setting on stderr: a table on a terminal, a line each in a pipe."""
    if not err.is_terminal:
        for change in changes:
            note = f": {change.note}" if change.note else ""
            say(f"changed: {change.key}: {_text(change.old)} -> {_text(change.new)} ({change.change_class}{note})")
        return
    if changes:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for title in ("changed", f"until {step}", "from now on", ""):
            table.add_column(title, overflow="fold")
        for change in changes:
            text = ": ".join(part for part in (change.change_class, change.note) if part)
            color = "yellow" if change.change_class == "matters" else "dim"
            table.add_row(escape(change.key), _text(change.old), _text(change.new), f"[{color}]{escape(text)}[/]")
        err.print(table)


def _text(value: Any) -> str:
    return "null" if value is None else str(value)
