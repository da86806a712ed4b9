"""The table of `hifitse runs`."""

import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from hifitse.console import cell, duration, out, print_line
from hifitse.runs.summary import Summary
from hifitse.runs.tree import Member

_COLORS = {"training": "green", "stopped": "red", "failed": "red", "unknown": "yellow", "interrupted": "yellow"}
_PIPE_WIDTH = 1000
_WIDE = 100
"""Columns from which the notes have one of their own."""


def print_runs(members: Sequence[Member], folder: Path) -> None:
    """Print one row a run, and below the table what could not be read. A pipe gets whole lines."""
    console = out if out.is_terminal else Console(width=_PIPE_WIDTH, highlight=False)
    metrics = {member.summary.best.metric for member in members if member.summary.best}
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("run", overflow="fold")
    table.add_column("state", overflow="fold")
    table.add_column("step", justify="right", no_wrap=True)
    # Of the set that selected it, so it flatters.
    table.add_column("\n".join(["best in", "validation", *(metrics if len(metrics) == 1 else ())]))
    table.add_column("idle", no_wrap=True, justify="right")
    table.add_column("size", no_wrap=True, justify="right")
    table.add_column("")
    counted: set[tuple[int, int]] = set()
    for member in members:
        summary = member.summary
        # Hard links to the checkpoint of an origin take no space of their own.
        new = {file: size for file, size in summary.files.items() if file not in counted}
        counted |= new.keys()
        name, notes = _name(member, folder), _notes(summary)
        if console.width < _WIDE and notes:
            name, notes = f"{name}\n{' ' * 2 * member.depth}[dim]({notes})[/]", ""
        figures = (_progress(summary), _best(summary, len(metrics) > 1), _age(summary), _size(sum(new.values())))
        table.add_row(name, _state(summary), *figures, f"[dim]{notes}[/]")
    console.print(table)
    for member in members:
        for problem in member.summary.problems:
            print_line(f"{member.summary.path}: {problem}")


def _name(member: Member, folder: Path) -> str:
    path, origin = member.summary.path, member.summary.origin
    base = member.parent.parent if member.parent else folder
    name = cell(str(path.relative_to(base)) if path.is_relative_to(base) and path != base else path.name)
    if origin and not member.parent:
        name += f" (from {cell(origin.source)})"
    branches = ["  " if is_last else "│ " for is_last in member.is_last[:-1]]
    branches += ["└─" if is_last else "├─" for is_last in member.is_last[-1:]]
    return "".join(branches) + name


def _notes(summary: Summary) -> str:
    counts = ((len(summary.pins), "pinned"), (len(summary.abandoned), "abandoned"))
    return ", ".join([*_pace(summary), *(f"{number} {what}" for number, what in counts if number)])


def _pace(summary: Summary) -> list[str]:
    """Return how a training goes: what its last heartbeat says, or that there was none for long."""
    beat = summary.beat
    if summary.state != "training" or beat is None:
        return []
    if not beat.is_fresh:
        return [f"no sign of life for {duration(beat.age_seconds)}"]
    if beat.activity == "starting" or beat.remaining_seconds is None:
        return ["loading the first scenes"]
    end = "" if beat.stop_at == beat.total_steps else f" to {_short(beat.stop_at)}"
    loss = f"loss {beat.means['loss']:.2f}" if "loss" in beat.means else ""
    pace = [loss, f"{beat.scenes_per_second:.1f} scenes/s", f"{duration(beat.remaining_seconds)} left{end}"]
    return [part for part in [*pace, "validating" if beat.activity == "validating" else ""] if part]


def _state(summary: Summary) -> str:
    text = f"stopped by {summary.guard}" if summary.guard else summary.state
    if summary.problems and summary.state == "unknown":
        text = "damaged"
    color = _COLORS.get(summary.state)
    return f"[{color}]{cell(text)}[/]" if color else cell(text)


def _progress(summary: Summary) -> str:
    return f"{_short(summary.step)}/{_short(summary.total_steps) if summary.total_steps else '?'}"


def _best(summary: Summary, with_metric: bool) -> str:
    if summary.best is None:
        return ""
    metric = f"{summary.best.metric} " if with_metric else ""
    average = " (average)" if summary.best.average else ""
    return cell(f"{metric}{summary.best.value:.2f} at {_short(summary.best.step)}{average}")


def _short(step: int) -> str:
    """Return 235k for 235000; no digit is lost."""
    return f"{step // 1000}k" if step >= 10_000 and step % 1000 == 0 else str(step)


def _age(summary: Summary) -> str:
    return duration(max(time.time() - summary.last_activity, 0)) if summary.last_activity else ""


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.0f} MB"
