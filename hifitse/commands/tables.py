"""Tables on stdout: one style for all commands."""

from collections.abc import Sequence

from rich.table import Table

from hifitse.console import out
from hifitse.metrics import METRICS


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
