"""Ranking the checkpoints of a run by one metric, within bounds on others, with uncertainty.

The best value is first, unless the first two cannot be told apart in it: then the one whose rms_ratio is nearer to 1
is first, and where that cannot be told either, the later one.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hifitse.checkpoint.file import verify_checkpoint
from hifitse.config.schema import Config
from hifitse.errors import CheckpointError, HifitseError, RecordError, UsageError
from hifitse.evaluation.bounds import Bound
from hifitse.evaluation.comparison.paired import Difference, Verdict, difference
from hifitse.evaluation.guards import gate
from hifitse.evaluation.result import ValidationResult, read_result
from hifitse.metrics import METRICS, Metric
from hifitse.runs.records import Best, read_best, read_events, write_record
from hifitse.runs.run import Run


@dataclass(frozen=True)
class Candidate:
    """What may be selected."""

    path: Path
    result: ValidationResult
    average_of: tuple[int, ...] = ()
    """Of a weight average the steps of its checkpoints, the last of which is its own; none: it is a checkpoint."""


@dataclass(frozen=True)
class Ranked:
    step: int
    path: Path
    average_of: tuple[int, ...]
    metrics: dict[str, float]
    behind_best: Difference | None
    """The best one minus this one, paired scene by scene; None for the best itself, and for val_loss."""

    def to_json(self) -> dict[str, Any]:
        behind = self.behind_best.interval.to_json() if self.behind_best else None
        return _named(self) | {"path": str(self.path), "metrics": self.metrics, "behind_best": behind}


@dataclass(frozen=True)
class Excluded:
    step: int
    reason: str
    metrics: dict[str, float] | None = None
    """None where there is no comparable validation result."""
    average_of: tuple[int, ...] = ()
    is_gone: bool = False
    """Its validation result is kept, its checkpoint is not."""
    is_damaged: bool = False
    """Its validation result cannot be read."""

    def to_json(self) -> dict[str, Any]:
        return _named(self) | {"reason": self.reason}


def _named(item: Ranked | Excluded) -> dict[str, Any]:
    return {"step": item.step} | ({"average_of": list(item.average_of)} if item.average_of else {})


@dataclass(frozen=True)
class Selection:
    metric: Metric
    ranking: list[Ranked]
    """Best first."""
    excluded: list[Excluded]
    """Of those that were validated."""
    lowest_val_loss_step: int
    """What selecting by val_loss alone would have picked."""
    best_result: ValidationResult
    """Of the best one; all of them were validated on its scenes."""

    @property
    def best(self) -> Ranked:
        return self.ranking[0]

    @property
    def runner_up(self) -> Ranked | None:
        return self.ranking[1] if len(self.ranking) > 1 else None

    def to_json(self) -> dict[str, Any]:
        best = _named(self.best) | {"path": str(self.best.path), "metrics": self.best.metrics}
        second = self.runner_up
        against = second.behind_best.to_json() if second and second.behind_best else {}
        return {
            "metric": self.metric.name,
            "best": best,
            "runner_up": second and _named(second) | against,
            "ranking": [ranked.to_json() for ranked in self.ranking],
            "excluded": [excluded.to_json() for excluded in self.excluded],
            "lowest_val_loss_step": self.lowest_val_loss_step,
        }


def bounds(config: Config) -> list[Bound]:
    """Return what a checkpoint has to keep to be selected: the bounds of the guards, and those of the selection."""
    return gate(config) + [Bound.parse(text, "selection.require") for text in config.selection.require]


def select(run: Run, metric: Metric, bounds: list[Bound], averages: Sequence[Candidate] = ()) -> Selection:
    """Rank the run's checkpoints that were validated and are within all bounds, and such averages of them.

    Raises:
        UsageError: the run has no validated checkpoint.
        HifitseError: none is within the bounds; the message says why each was excluded.
    """
    results, excluded = _results(run)
    if not results:
        raise UsageError(
            f"{run.path}: no checkpoint of this run was validated yet; run hifitse validate --run {run.argument}"
        )
    candidates = [*(Candidate(run.checkpoint_path(result.step), result) for result in results), *averages]
    eligible = []
    for candidate in candidates:
        if refused := objection(run, candidate, metric, bounds):
            excluded.append(refused)
        else:
            eligible.append(candidate)
    eligible.sort(key=lambda candidate: (metric.cost(candidate.result.metrics[metric.name]), -candidate.result.step))
    sound: list[Candidate] = []
    for candidate in eligible:
        # The first two are what is chosen between.
        result = candidate.result
        if len(sound) < 2 and (damage := _damage(candidate.path)):
            excluded.append(Excluded(result.step, damage, result.metrics, candidate.average_of))
        else:
            sound.append(candidate)
    excluded.sort(key=lambda item: item.step)
    if not sound:
        listed = "; ".join(f"step {item.step}: {item.reason}" for item in excluded)
        raise HifitseError(f"{run.path}: no checkpoint is within the bounds ({listed}); give others with --require")
    if len(sound) > 1 and _wins_tie(metric, sound[1].result, sound[0].result):
        sound[:2] = sound[1], sound[0]
    best = sound[0].result
    ranking = [
        Ranked(
            candidate.result.step,
            candidate.path,
            candidate.average_of,
            candidate.result.metrics,
            None if candidate is sound[0] else difference(metric, best.samples, candidate.result.samples),
        )
        for candidate in sound
    ]
    lowest = min(results, key=lambda result: (math.isnan(loss := result.metrics["val_loss"]), loss))
    return Selection(metric, ranking, excluded, lowest.step, best)


def choose(run: Run, metric: Metric, bounds: list[Bound], averages: Sequence[Candidate] = ()) -> Selection:
    """Select as `select` does, and point the run's ``best`` at the winner, or at nothing where there is none."""
    with run.checkpoints_held():
        try:
            selection = select(run, metric, bounds, averages)
        except UsageError:
            raise
        except HifitseError as error:
            if refused := read_best(run):
                # It was chosen by other bounds; what is used next must not be what was just refused.
                run.best_path.unlink()
                raise HifitseError(f"{error}; step {refused.step}, which was best so far, is not any more") from None
            raise
        best = selection.best
        record = {"step": best.step, "metric": metric.name, "value": best.metrics[metric.name]}
        if best.average_of:
            record["average"] = best.path.stem
        write_record(run.best_path, Best.model_validate(record))
    return selection


def objection(run: Run, candidate: Candidate, metric: Metric, bounds: list[Bound]) -> Excluded | None:
    """Return why a candidate cannot be selected, or None."""
    step, metrics = candidate.result.step, candidate.result.metrics
    needed = dict.fromkeys([*(bound.metric.name for bound in bounds), metric.name])
    if missing := [name for name in needed if name not in metrics]:
        said = f"{', '.join(missing)} was not measured when it was validated"
        asked = [name.removeprefix("tp_") for name in missing if name not in METRICS]
        remedy = _validate(run, step) + (f" --metrics {','.join(asked)}" if asked else "")
        return Excluded(step, f"{said}; {remedy}")
    reasons = [reason for bound in bounds if (reason := bound.violation(metrics))]
    if not math.isfinite(metrics[metric.name]):
        reasons.append(f"{metric.name} is not finite")
    return Excluded(step, "; ".join(reasons), metrics, candidate.average_of) if reasons else None


def _wins_tie(metric: Metric, second: ValidationResult, first: ValidationResult) -> bool:
    """Tell whether the second by the metric comes first, for the two cannot be told apart in it."""
    for judged in (metric, METRICS["rms_ratio"]):
        found = difference(judged, second.samples, first.samples)
        if found is None or found.verdict is not Verdict.NEITHER:
            return found is not None and found.verdict is Verdict.A
    return second.step > first.step


def _results(run: Run) -> tuple[list[ValidationResult], list[Excluded]]:
    """Return the comparable results, and what other results there are."""
    excluded, results = [], []
    validated = set(run.validation_steps())
    for step in (step for step in run.checkpoint_steps() if step in validated):
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


def _damage(path: Path) -> str | None:
    try:
        verify_checkpoint(path)
    except CheckpointError as error:
        return str(error)
    return None
