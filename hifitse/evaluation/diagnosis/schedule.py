"""Causes in the learning rate: what a resume, a reset or a rollback began with."""

import math

from hifitse.evaluation.diagnosis.evidence import Evidence, Finding

# SI-SDR lost, and rate over the rate before, from which a change is a cause; or that many steps not taken after it.
_LOST_DB, _RISE, _NUM_SKIPPED = 1.0, 1.5, 3
_KEYS = ("train.learning_rate", "train.min_learning_rate", "train.total_steps", "train.warmup_steps", "train.optimizer")


def learning_rate_after_change(evidence: Evidence) -> Finding | None:
    """Quality falls from where the optimizer was reset or the learning rate was raised."""
    changes = _changes(evidence)
    if not changes:
        return None
    step, what = max(changes)
    before = [result for result in evidence.results if result.step <= step]
    rates = [(row.step, row.get("learning_rate")) for row in evidence.steps]
    old = [rate for at, rate in rates if at <= step and isinstance(rate, float)][-1:]
    new = [rate for at, rate in rates if at > step and isinstance(rate, float)]
    skipped = sum(row.step > step and row.get("skipped") is not None for row in evidence.steps)
    if not before or not old or not new:
        return None
    lost = before[-1].metrics["tp_si_sdr"] - evidence.newest.metrics["tp_si_sdr"]
    rise = max(new) / old[0] if old[0] > 0 else math.inf
    if (lost < _LOST_DB and skipped < _NUM_SKIPPED) or (rise < _RISE and step != evidence.optimizer_reset_step):
        return None
    train = evidence.config.train
    return Finding(
        "learning_rate_after_change",
        "the learning rate is too high since the run went on with another one, or with a fresh optimizer",
        (
            f"{what} at step {step}; the learning rate was {old[0]:.2g} before it and reaches {max(new):.2g} after it",
            f"tp_si_sdr was {before[-1].metrics['tp_si_sdr']:.2f} dB at step {before[-1].step} and is "
            f"{evidence.newest.metrics['tp_si_sdr']:.2f} dB at step {evidence.newest.step}",
            f"{skipped} steps were not taken since",
        ),
        (
            f"a longer train.rewarmup_steps ({train.rewarmup_steps} now), with --reset-optimizer",
            f"a lower train.learning_rate ({train.learning_rate:g} now)",
        ),
    )


def _changes(evidence: Evidence) -> list[tuple[int, str]]:
    """Return step and description of what may have changed the learning rate, on the branch that is in place."""
    newest = evidence.newest.step
    found = []
    if 0 < evidence.optimizer_reset_step < newest:
        found.append((evidence.optimizer_reset_step, "the optimizer was reset"))
    for event in evidence.events:
        changed = [change["key"] for change in event.get("changes") or () if change["key"].startswith(_KEYS)]
        if event.kind == "config_changed" and changed and event.step < newest:
            found.append((event.step, f"{', '.join(changed)} changed"))
    return found
