"""Tables: one style for all commands."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from hifitse.console import cell, out, print_line
from hifitse.corpus.bandwidth import BandStats
from hifitse.corpus.corpus import SET_NAMES
from hifitse.corpus.stats import CorpusStats, SplitStats
from hifitse.metrics import MAIN_METRICS

if TYPE_CHECKING:
    from hifitse.evaluation.scoring.summary import Figure

_NUM_BROKEN_SHOWN = 5


def new_table(*titles: str) -> Table:
    """Return an empty table with these columns; more can be added."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in titles:
        table.add_column(title, overflow="fold")
    return table


def metrics_table(label: str, rows: Sequence[tuple[str, dict[str, float], str]], more: Sequence[str] = ()) -> None:
    """Print the metrics of each checkpoint.

    Args:
        label: title of the first column.
        rows: what stands in that column, the metrics, and one character that marks the row.
        more: metrics that are of interest besides the main ones, some of which make room for them.
    """
    others = [name for name in dict.fromkeys(more) if name not in MAIN_METRICS]
    names = ["tp_si_sdr", "rms_ratio", "ta_suppression_db", *others] if others else MAIN_METRICS
    # As narrow as it can be: names stay whole, and all columns fit into a terminal of 80.
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("")
    table.add_column(label, justify="right", no_wrap=True)
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    for title, metrics, mark in rows:
        table.add_row(mark, title, *(f"{metrics[name]:.2f}" if name in metrics else "-" for name in names))
    out.print(table)


def figures_table(figures: "Sequence[Figure]") -> None:
    """Print what an evaluation found, a metric a line."""
    table = new_table("metric")
    for column in ("mean", "low", "high", "median", "pairs"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("")
    for figure in figures:
        interval = figure.interval
        found = (interval.mean, interval.low, interval.high, figure.median)
        values = ("-" if math.isnan(value) else f"{value:.3f}" for value in found)
        table.add_row(figure.name, *values, str(figure.num_pairs), figure.unit)
    out.print(table)


def corpus_table(rows: Sequence[CorpusStats], totals: Sequence[CorpusStats]) -> None:
    """Print what each corpus holds and all of a kind together, and the first few of what is broken."""
    table = new_table("", "corpus")
    for column in ("speakers", "recordings", "hours", "kHz", "weight", "broken"):
        table.add_column(column, justify="right", no_wrap=column != "kHz")
    for row in [*rows, *totals]:
        table.add_row(
            row.kind,
            cell(Path(row.path).name) if row.path else "[bold]in all[/]",
            str(row.speakers) if row.kind.endswith("speech") else "",
            str(row.recordings),
            f"{row.hours:,.2f}",
            " ".join(f"{rate / 1000:g}" for rate in row.sample_rates),
            "" if row.weight is None else f"{row.weight:g}",
            str(len(row.broken)),
        )
    out.print(table)
    broken = [line for row in rows for line in row.broken]
    for line in broken[:_NUM_BROKEN_SHOWN]:
        print_line(f"broken: {line}")
    if len(broken) > _NUM_BROKEN_SHOWN:
        print_line(f"and {len(broken) - _NUM_BROKEN_SHOWN} more; --json names them all")


def split_table(parts: Mapping[str, SplitStats]) -> None:
    """Print what is for training, for validation and for a test."""
    table = new_table("set")
    for column in ("speakers", "recordings", "hours", "noises", "rooms", "positions"):
        table.add_column(column, justify="right")
    for name, part in parts.items():
        figures = (part.speakers, part.recordings, f"{part.hours:,.2f}", part.noises, part.rooms, part.rirs)
        table.add_row(SET_NAMES[name], *map(str, figures))
    out.print()
    out.print(table)


def band_table(bands: Mapping[str, Mapping[str, BandStats]]) -> None:
    """Print how much of the energy of each set's recordings is in the upper parts of the model's band."""
    edges = next((list(stats.share_above_db) for kinds in bands.values() for stats in kinds.values()), [])
    table = new_table("set", "kind", "measured")
    for edge in edges:
        table.add_column(f"above {edge / 1000:.3g} kHz", justify="right", no_wrap=True)
    for split, kinds in bands.items():
        for kind, stats in kinds.items():
            shares = (f"{share:.0f} dB" for share in stats.share_above_db.values())
            table.add_row(SET_NAMES[split], kind, str(stats.recordings), *shares)
    out.print()
    print_line("share of the energy in the upper parts of the model's band")
    out.print(table)
