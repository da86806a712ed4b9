"""Ranking the checkpoints of a run by one metric, within bounds on others, with uncertainty."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hifitse.checkpoint import file as checkpoints
from hifitse.config.schema import Config
from hifitse.errors import CheckpointError, HifitseError, UsageError
from hifitse.evaluation.bounds import Bound
from hifitse.evaluation.guards import gate
from hifitse.evaluation.validation import Exam
from hifitse.metrics import Metric
from hifitse.runs.pins import deciding
from hifitse.runs.run import Run, write_text


@dataclass(frozen=True)
class Ranked:
    step: int
    path: Path
    metrics: dict[str, float]
    behind_best: tuple[float, float] | None
    """Mean and standard error of what the best one is ahead by, paired scene by scene; None for
    the best itself and for metrics that are no mean over scenes."""

    def to_json(self) -> dict[str, Any]:
        behind = {"mean": self.behind_best[0], "standard_error": self.behind_best[1]} if self.behind_best else None
        return {"step": self.step, "path": str(self.path), "metrics": self.metrics, "behind_best": behind}


@dataclass(frozen=True)
class Excluded:
    step: int
    reason: str
    metrics: dict[str, float] | None = None
    """None where there is no comparable exam."""
    is_gone: bool = False
    """Its exam is kept, its checkpoint is not."""


@dataclass(frozen=True)
class Selection:
    metric: Metric
    ranking: list[Ranked]
    """Best first."""
    excluded: list[Excluded]
    lowest_val_loss_step: int
    """What selecting by val_loss alone would have picked."""

    @property
    def best(self) -> Ranked:
        return self.ranking[0]

    def to_json(self) -> dict[str, Any]:
        return {
            "metric": self.metric.name,
            "best": {"step": self.best.step, "path": str(self.best.path), "metrics": self.best.metrics},
            "ranking": [ranked.to_json() for ranked in self.ranking],
            "excluded": [{"step": excluded.step, "reason": excluded.reason} for excluded in self.excluded],
            "lowest_val_loss_step": self.lowest_val_loss_step,
        }


def bounds(config: Config) -> list[Bound]:
    """Return what a checkpoint has to keep to be selected: the bounds of the guards, and those of the selection."""
    return gate(config) + [Bound.parse(text, "selection.require") for text in config.selection.require]


def select(run: Run, metric: Metric, bounds: list[Bound]) -> Selection:
    """Rank the run's checkpoints that were validated and are within all bounds.

    Raises:
        UsageError: the run has no validated checkpoint.
        HifitseError: none is within the bounds; the message says why each was excluded.
    """
    exams, excluded = _exams(run)
    if not exams:
        raise UsageError(
            f"{run.path}: no checkpoint of this run was validated yet; run hifitse validate --run {run.argument}"
        )
    eligible = []
    for exam in exams:
        reasons = [r for bound in bounds if (r := bound.violation(exam.metrics))]
        if not math.isfinite(exam.metrics[metric.name]):
            reasons.append(f"{metric.name} is not finite")
        if reasons:
            excluded.append(Excluded(exam.step, "; ".join(reasons), exam.metrics))
        else:
            eligible.append(exam)
    eligible.sort(key=lambda exam: (metric.cost(exam.metrics[metric.name]), -exam.step))
    while eligible and (damage := _damage(run, eligible[0].step)):
        exam = eligible.pop(0)
        excluded.append(Excluded(exam.step, damage, exam.metrics))
    excluded.sort(key=lambda item: item.step)
    if not eligible:
        listed = "; ".join(f"step {item.step}: {item.reason}" for item in excluded)
        raise HifitseError(f"{run.path}: no checkpoint is within the bounds ({listed}); give others with --require")
    ranking = [
        Ranked(exam.step, run.checkpoint_path(exam.step), exam.metrics, _behind(metric, eligible[0], exam))
        for exam in eligible
    ]
    lowest = min(exams, key=lambda exam: (math.isnan(loss := exam.metrics["val_loss"]), loss))
    return Selection(metric, ranking, excluded, lowest.step)


def choose(run: Run, metric: Metric, bounds: list[Bound]) -> Selection:
    """Select as `select` does, and point the run's ``best`` at the winner, or at nothing where there is none."""
    with deciding(run):
        return _choose(run, metric, bounds)


def _choose(run: Run, metric: Metric, bounds: list[Bound]) -> Selection:
    try:
        selection = select(run, metric, bounds)
    except UsageError:
        raise
    except HifitseError as error:
        if refused := run.read_best():
            # It was chosen by other bounds; what is used next must not be what was just refused.
            run.best_path.unlink()
            raise HifitseError(f"{error}; step {refused['step']}, which was best so far, is not any more") from None
        raise
    best = selection.best
    pointer = {"step": best.step, "metric": metric.name, "value": best.metrics[metric.name]}
    write_text(run.best_path, json.dumps(pointer, indent=2) + "\n")
    return selection


def _exams(run: Run) -> tuple[list[Exam], list[Excluded]]:
    """Return the comparable exams, and the checkpoints that have none."""
    excluded, exams = [], []
    for step in run.checkpoint_steps():
        if not run.exam_path(step).exists():
            excluded.append(Excluded(step, f"not validated; {_validate(run, step)} would"))
            continue
        try:
            exams.append(Exam.from_json(run.read_exam(step)))
        except CheckpointError as error:
            excluded.append(Excluded(step, str(error)))
    excluded += _gone(run)
    digest = exams[-1].exam_digest if exams else None
    other = [exam for exam in exams if exam.exam_digest != digest]
    excluded += [Excluded(e.step, f"sat another exam than the newest; {_validate(run, e.step)}") for e in other]
    return [exam for exam in exams if exam.exam_digest == digest], excluded


def _validate(run: Run, step: int) -> str:
    return f"hifitse validate --run {run.argument} --from {step}"


def _gone(run: Run) -> list[Excluded]:
    """Return the exams whose checkpoint is not there any more."""
    gone = sorted(set(run.exam_steps()) - set(run.checkpoint_steps()))
    deleted = {event.get("checkpoint") for event in run.read_events() if event["kind"] == "deleted"} if gone else set()
    return [
        Excluded(step, "deleted by retention" if step in deleted else "its checkpoint is gone", is_gone=True)
        for step in gone
    ]


def _damage(run: Run, step: int) -> str | None:
    try:
        checkpoints.load(run.checkpoint_path(step))
    except CheckpointError as error:
        return str(error)
    return None


def _behind(metric: Metric, best: Exam, exam: Exam) -> tuple[float, float] | None:
    if exam is best or metric.per_sample is None:
        return None
    pairs = zip(best.samples, exam.samples, strict=True)
    values = [
        getattr(a, metric.per_sample) - getattr(b, metric.per_sample)
        for a, b in pairs
        if getattr(a, metric.per_sample) is not None
    ]
    mean = sum(values) / len(values)
    variance = sum((value - mean) ** 2 for value in values) / max(len(values) - 1, 1)
    return mean, math.sqrt(variance / len(values))
