"""What the figures of all pairs add up to, and how papers print it."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hifitse.evaluation.intervals import Interval
from hifitse.evaluation.scoring.rows import PairResult, csv_of
from hifitse.evaluation.summary import summarize
from hifitse.metrics import Metric, Sample, metric
from hifitse.perceptual.registry import PERCEPTUAL
from hifitse.storage import write_json, write_text

_HEADINGS = {"tp_si_sdr": "SI-SDR", "tp_si_sdri": "SI-SDRi", "ta_suppression_db": "TA suppression"}
"""Names in papers; of the other metrics they are left out of what is pasted."""


@dataclass(frozen=True)
class Figure:
    """One metric over all pairs that it is defined for."""

    name: str
    unit: str
    heading: str
    """Its name in papers, or ""."""
    interval: Interval
    """The mean and its 95 % interval, pairs clustered by speaker; NaN where there is one speaker."""
    median: float
    num_pairs: int

    def to_json(self) -> dict[str, float | None]:
        """Return its figures; None for what is no number."""
        interval = self.interval
        figures = {"mean": interval.mean, "low": interval.low, "high": interval.high, "median": self.median}
        return {name: value if math.isfinite(value) else None for name, value in figures.items()}


def summarize_pairs(results: Sequence[PairResult]) -> list[Figure]:
    """Return a figure for each metric that some pair has a value of."""
    samples = [result.sample for result in results]
    figures = []
    for name, found in summarize(samples).items():
        known = metric(name)
        values = [value for sample in samples if (value := _value(known, sample)) is not None]
        heading = PERCEPTUAL[str(known.per_sample)].heading if known.is_perceptual else _HEADINGS.get(name, "")
        figures.append(Figure(name, known.unit, heading, found.interval, statistics.median(values), len(values)))
    return figures


def _value(known: Metric, sample: Sample) -> float | None:
    value = sample.rms_ratio if known.name == "rms_ratio" else known.of(sample)
    return None if value is None else float(value)


def write_summary(folder: Path, summary: dict[str, Any], results: Sequence[PairResult]) -> None:
    """Write ``summary.json`` and, a row for each pair, ``pairs.csv``."""
    write_text(folder / "pairs.csv", csv_of(results))
    write_json(folder / "summary.json", summary)


def for_paper(model: str, described: str, figures: Sequence[Figure], form: str) -> str:
    """Return a Markdown or LaTeX table of one row, ready to be pasted: means over all pairs, two digits."""
    shown = [figure for figure in figures if figure.heading]
    heads = ["Model", *(f"{f.heading} ({f.unit})" if f.unit == "dB" else f.heading for f in shown)]
    cells = [model, *(f"{figure.interval.mean:.2f}" for figure in shown)]
    if form == "markdown":
        rows = (heads, ["---", *("---:" for _ in shown)], cells)
        return "\n".join([*(f"| {' | '.join(row)} |" for row in rows), "", described])
    rows_of_latex = [" & ".join(map(_escaped, row)) + r" \\" for row in (heads, cells)]
    begin = rf"\begin{{tabular}}{{l{'r' * len(shown)}}}"
    return "\n".join([f"% {described}", begin, *rows_of_latex, r"\end{tabular}"])


def _escaped(text: str) -> str:
    return "".join(f"\\{char}" if char in "_%&#$" else char for char in text)
