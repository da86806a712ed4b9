"""What a validation measured, as tables for a terminal of 80 columns."""

import math
from collections.abc import Mapping, Sequence

from rich.table import Table

from hifitse.console import cell, out, print_line
from hifitse.evaluation.result import ValidationResult
from hifitse.evaluation.summary import Group, MetricSummary
from hifitse.metrics import metric

_NUM_SPEAKERS_SHOWN = 5
_FIRST_COLUMN = 17
_GROUP_TITLES = {
    "speaker": "worst speakers",
    "num_interferers": "interferers",
    "sir_db": "SIR",
    "snr_db": "SNR",
    "reference_seconds": "reference speech",
}
_GROUP_METRICS = {
    "tp_si_sdri": "tp_si_sdri",
    "rms_ratio": "rms_ratio",
    "rejection_rate": "rejected",
    "confusion_rate": "confused",
    "failure_rate": "failed",
    "false_extraction_rate": "TA heard",
}


def metric_summaries(result: ValidationResult, summaries: Mapping[str, MetricSummary]) -> None:
    """Print each metric with its interval, median and extremes, of the model weights and on training speakers."""
    table = _narrow("metric")
    for title in ("mean", "95 % interval", "5 %", "median", "95 %", "model", "train"):
        table.add_column(title, justify="right", no_wrap=True)
    for name, value in result.metrics.items():
        summary = summaries.get(name)
        quantiles = summary.quantiles if summary else None
        table.add_row(
            f"{name} {metric(name).unit}".strip(),
            f"{value:.2f}",
            _interval(summary),
            *(f"{quantiles[share]:.2f}" if quantiles else "" for share in (0.05, 0.5, 0.95)),
            _figure(result.model_metrics, name),
            _figure(result.train_metrics or {}, name),
        )
    out.print(table)


def group_tables(groups: Mapping[str, Sequence[Group]]) -> None:
    """Print for which scenes the model does how well."""
    for kind, found in groups.items():
        out.print()
        table = _narrow(_GROUP_TITLES[kind])
        for title in ("scenes", *_GROUP_METRICS.values()):
            table.add_column(title, justify="right", no_wrap=True)
        shown = found[:_NUM_SPEAKERS_SHOWN] if kind == "speaker" else found
        for group in shown:
            figures = (_figure(group.metrics, name) for name in _GROUP_METRICS)
            table.add_row(cell(group.name), str(group.num_scenes), *figures)
        out.print(table)
        if len(shown) < len(found):
            print_line(f"and {len(found) - len(shown)} more; --json names them all")


def _narrow(title: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column(title, overflow="fold", min_width=_FIRST_COLUMN)
    return table


def _interval(summary: MetricSummary | None) -> str:
    if summary is None or math.isnan(summary.interval.low):
        return ""
    return f"{summary.interval.low:.2f} to {summary.interval.high:.2f}"


def _figure(metrics: Mapping[str, float], name: str) -> str:
    return f"{metrics[name]:.2f}" if name in metrics else ""
