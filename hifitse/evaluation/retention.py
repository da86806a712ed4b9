"""Which checkpoints stay when newer ones come: budgets, and what no budget may touch. All validation results stay."""

from collections.abc import Callable, Collection, Sequence
from functools import cache
from itertools import groupby, islice

from hifitse.checkpoint.file import verify_checkpoint
from hifitse.config.policies import RetentionConfig
from hifitse.config.schema import Config
from hifitse.errors import CheckpointError, HifitseError
from hifitse.evaluation.guards import newest_healthy, read_history
from hifitse.evaluation.result import read_result
from hifitse.evaluation.selection import bounds, select
from hifitse.metrics import metric
from hifitse.runs.branches import branch_points
from hifitse.runs.events import EventLog
from hifitse.runs.records import read_best, read_pins
from hifitse.runs.run import Run


def to_delete(
    steps: Sequence[int],
    budget: RetentionConfig,
    protected: Collection[int],
    ranking: Sequence[int],
    is_valid: Callable[[int], bool],
) -> list[int]:
    """Return the steps whose checkpoints neither a budget nor protection keeps, ascending.

    Args:
        steps: those that have a checkpoint, ascending.
        protected: those that are never deleted.
        ranking: those that could be selected, best first.
        is_valid: whether the checkpoint of a step can be read; one that cannot uses up no budget.
    """
    if budget.keep_last is None:
        return []
    last = list(islice(filter(is_valid, reversed(steps)), budget.keep_last))
    if len(last) < budget.keep_last:
        return []
    kept = {*protected, *islice(filter(is_valid, ranking), budget.keep_best)}
    if every := budget.keep_every:
        for multiple, group in groupby(steps, lambda step: step // every):
            window = list(group)
            # Checkpoints need not fall on the multiple. One that is alone stays whatever it is, so it is not read.
            first = window[0] if len(window) == 1 else next(filter(is_valid, window), window[0])
            kept |= {first} if multiple else set()
    return [step for step in steps if step < last[-1] and step not in kept]


def prune(run: Run, config: Config, events: EventLog) -> None:
    """Delete the checkpoints that retention does not keep; to be called once a newer one is saved and verified.

    A run whose pins or other records cannot be read keeps everything: a full disk can be freed.
    """
    budget, steps = config.retention, run.checkpoint_steps()
    if budget.keep_last is None or len(steps) <= budget.keep_last:
        return
    try:
        with run.checkpoints_held():
            protected = always_kept(run, config)
            for step in to_delete(steps, budget, protected, _ranking(run, config), _validity(run)):
                run.checkpoint_path(step).unlink()
                message = f"checkpoint of step {step} deleted by retention (keep_last {budget.keep_last})"
                events.report("deleted", steps[-1], message, checkpoint=step)
    except (HifitseError, OSError, ValueError, KeyError, TypeError) as error:
        events.report("retention_failed", steps[-1], f"retention keeps all checkpoints for now: {error}")


def always_kept(run: Run, config: Config) -> set[int]:
    """Return the steps whose checkpoints no budget may delete."""
    kept = {*read_pins(run), *branch_points(run)}
    kept |= {phase.until for phase in config.curriculum if phase.until is not None}
    if best := read_best(run):
        kept.add(best.step)
    results = [read_result(run, step) for step in run.validation_steps()]
    if results:
        newest = results[-1]
        # What was validated on other scenes, or without a metric that selection asks for, cannot be ranked until it is
        # again; who knows what it is worth.
        needed = {config.selection.metric, *(bound.metric.name for bound in bounds(config))}
        kept |= {
            result.step
            for result in results
            if result.scenes_digest != newest.scenes_digest or not needed <= result.metrics.keys()
        }
        if healthy := newest_healthy(run, config, read_history(run, newest.scenes_digest, newest.step)):
            kept.add(healthy.header.step)
    return kept


def _ranking(run: Run, config: Config) -> list[int]:
    try:
        selection = select(run, metric(config.selection.metric), bounds(config))
    except HifitseError:
        # None can be selected yet.
        return []
    return [ranked.step for ranked in selection.ranking]


def _validity(run: Run) -> Callable[[int], bool]:
    """Return a function that reads a checkpoint, once, and tells whether it is what was saved."""

    @cache
    def is_valid(step: int) -> bool:
        try:
            verify_checkpoint(run.checkpoint_path(step))
        except CheckpointError:
            return False
        return True

    return is_valid
