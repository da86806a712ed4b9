"""Tables on stdout: one style for all commands."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from hifitse.console import out
from hifitse.corpus.stats import Holding, Part
from hifitse.metrics import METRICS

_BROKEN_NAMED = 5


def metrics_table(rows: Sequence[tuple[int, dict[str, float], str]]) -> None:
    """Print the metrics of each checkpoint, with a remark behind them."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("step", justify="right")
    for metric in METRICS.values():
        # In two lines, so that all columns fit into a terminal of 80.
        group, _, rest = metric.name.partition("_")
        table.add_column(f"{group}_\n{rest}", justify="right", no_wrap=True)
    table.add_column("")
    for step, metrics, remark in rows:
        table.add_row(str(step), *(f"{metrics[name]:.2f}" for name in METRICS), remark)
    out.print(table)


def holdings_table(rows: Sequence[Holding], totals: Sequence[Holding]) -> None:
    """Print what each corpus holds and all of a kind together, and the first few of what is broken."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    table.add_column("corpus", overflow="fold")
    for column in ("speakers", "recordings", "hours", "kHz", "weight", "broken"):
        table.add_column(column, justify="right", no_wrap=column != "kHz")
    for row in [*rows, *totals]:
        table.add_row(
            row.kind,
            escape(Path(row.path).name) if row.path else "[bold]in all[/]",
            str(row.speakers) if row.kind == "speech" else "",
            str(row.recordings),
            f"{row.hours:,.2f}",
            " ".join(f"{rate / 1000:g}" for rate in row.sample_rates),
            "" if row.weight is None else f"{row.weight:g}",
            str(len(row.broken)),
        )
    out.print(table)
    broken = [line for row in rows for line in row.broken]
    for line in broken[:_BROKEN_NAMED]:
        out.print(f"broken: {line}", markup=False, soft_wrap=True)
    if len(broken) > _BROKEN_NAMED:
        out.print(f"and {len(broken) - _BROKEN_NAMED} more; --json names them all")


def parts_table(parts: Mapping[str, Part]) -> None:
    """Print what is for training and what is held out."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("split")
    for column in ("speakers", "recordings", "hours", "noises", "rooms"):
        table.add_column(column, justify="right")
    for name, part in parts.items():
        figures = (part.speakers, part.recordings, f"{part.hours:,.2f}", part.noises, part.rirs)
        table.add_row(name.replace("_", " "), *map(str, figures))
    out.print()
    out.print(table)
