"""Ranking the checkpoints of a run by one metric, within bounds on others, with uncertainty."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hifitse.checkpoint.file import verify_checkpoint
from hifitse.config.schema import Config
from hifitse.errors import CheckpointError, HifitseError, RecordError, UsageError
from hifitse.evaluation.bounds import Bound
from hifitse.evaluation.guards import gate
from hifitse.evaluation.intervals import Interval, clustered_interval
from hifitse.evaluation.result import ValidationResult, read_result
from hifitse.metrics import METRICS, Metric
from hifitse.runs.records import Best, read_best, read_events, write_record
from hifitse.runs.run import Run


@dataclass(frozen=True)
class Ranked:
    step: int
    path: Path
    metrics: dict[str, float]
    behind_best: Interval | None
    """What the best one is ahead by, paired scene by scene and clustered by speaker; None for the best itself, and for
    metrics that are no mean over scenes. Where no result says who speaks, its error is not known either."""

    def to_json(self) -> dict[str, Any]:
        behind = self.behind_best.to_json() if self.behind_best else None
        return {"step": self.step, "path": str(self.path), "metrics": self.metrics, "behind_best": behind}


@dataclass(frozen=True)
class Excluded:
    step: int
    reason: str
    metrics: dict[str, float] | None = None
    """None where there is no comparable validation result."""
    is_gone: bool = False
    """Its validation result is kept, its checkpoint is not."""
    is_damaged: bool = False
    """Its validation result cannot be read."""


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
    results, excluded = _results(run)
    if not results:
        raise UsageError(
            f"{run.path}: no checkpoint of this run was validated yet; run hifitse validate --run {run.argument}"
        )
    eligible = []
    for result in results:
        needed = dict.fromkeys([*(bound.metric.name for bound in bounds), metric.name])
        if missing := [name for name in needed if name not in result.metrics]:
            said = f"{', '.join(missing)} was not measured when it was validated"
            asked = [name.removeprefix("tp_") for name in missing if name not in METRICS]
            remedy = _validate(run, result.step) + (f" --metrics {','.join(asked)}" if asked else "")
            excluded.append(Excluded(result.step, f"{said}; {remedy}"))
            continue
        reasons = [r for bound in bounds if (r := bound.violation(result.metrics))]
        if not math.isfinite(result.metrics[metric.name]):
            reasons.append(f"{metric.name} is not finite")
        if reasons:
            excluded.append(Excluded(result.step, "; ".join(reasons), result.metrics))
        else:
            eligible.append(result)
    eligible.sort(key=lambda result: (metric.cost(result.metrics[metric.name]), -result.step))
    while eligible and (damage := _damage(run, eligible[0].step)):
        result = eligible.pop(0)
        excluded.append(Excluded(result.step, damage, result.metrics))
    excluded.sort(key=lambda item: item.step)
    if not eligible:
        listed = "; ".join(f"step {item.step}: {item.reason}" for item in excluded)
        raise HifitseError(f"{run.path}: no checkpoint is within the bounds ({listed}); give others with --require")
    ranking = [
        Ranked(result.step, run.checkpoint_path(result.step), result.metrics, _behind(metric, eligible[0], result))
        for result in eligible
    ]
    lowest = min(results, key=lambda result: (math.isnan(loss := result.metrics["val_loss"]), loss))
    return Selection(metric, ranking, excluded, lowest.step)


def choose(run: Run, metric: Metric, bounds: list[Bound]) -> Selection:
    """Select as `select` does, and point the run's ``best`` at the winner, or at nothing where there is none."""
    with run.checkpoints_held():
        try:
            selection = select(run, metric, bounds)
        except UsageError:
            raise
        except HifitseError as error:
            if refused := read_best(run):
                # It was chosen by other bounds; what is used next must not be what was just refused.
                run.best_path.unlink()
                raise HifitseError(f"{error}; step {refused.step}, which was best so far, is not any more") from None
            raise
        step, value = selection.best.step, selection.best.metrics[metric.name]
        write_record(run.best_path, Best.model_validate({"step": step, "metric": metric.name, "value": value}))
    return selection


def _results(run: Run) -> tuple[list[ValidationResult], list[Excluded]]:
    """Return the comparable results, and the checkpoints that have none."""
    excluded, results = [], []
    for step in run.checkpoint_steps():
        if not run.validation_path(step).exists():
            excluded.append(Excluded(step, f"not validated; {_validate(run, step)} would"))
            continue
        try:
            results.append(read_result(run, step))
        except RecordError as error:
            excluded.append(Excluded(step, str(error), is_damaged=True))
    excluded += _gone(run)
    scenes = results[-1].scenes if results else None
    other = [result.step for result in results if result.scenes != scenes]
    excluded += [Excluded(s, f"validated on other scenes than the newest; {_validate(run, s)}") for s in other]
    return [result for result in results if result.scenes == scenes], excluded


def _validate(run: Run, step: int) -> str:
    return f"hifitse validate --run {run.argument} --from {step}"


def _gone(run: Run) -> list[Excluded]:
    """Return the results whose checkpoint is not there any more."""
    gone = sorted(set(run.validation_steps()) - set(run.checkpoint_steps()))
    events = read_events(run) if gone else []
    deleted = [event.get("checkpoint") for event in events if event.kind == "deleted"]
    return [
        Excluded(step, "deleted by retention" if step in deleted else "its checkpoint is gone", is_gone=True)
        for step in gone
    ]


def _damage(run: Run, step: int) -> str | None:
    try:
        verify_checkpoint(run.checkpoint_path(step))
    except CheckpointError as error:
        return str(error)
    return None


def _behind(metric: Metric, best: ValidationResult, result: ValidationResult) -> Interval | None:
    if result is best or metric.per_sample is None:
        return None
    values, speakers = [], []
    for ours, theirs in zip(best.samples, result.samples, strict=True):
        ahead, behind = metric.of(ours), metric.of(theirs)
        if ahead is not None and behind is not None:
            values.append(float(ahead) - float(behind))
            # An older result does not say who speaks. It may have been one speaker throughout.
            speakers.append(ours.speaker or theirs.speaker or "")
    return clustered_interval(values, speakers) if values else None
