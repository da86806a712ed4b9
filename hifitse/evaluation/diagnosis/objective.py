"""Causes in the objective: what it pays for, and what it does not hold."""

from hifitse.config.schema import LossConfig
from hifitse.evaluation.diagnosis.evidence import Evidence, Finding

# Of rms_ratio: what is not held drifts beyond these. Runs whose level is held stay within 0.9 and 1.1.
_LOW, _HIGH = 0.85, 1.2


def pays_for_silence(evidence: Evidence) -> Finding | None:
    """The TA term is raw energy in dB, which falls without end."""
    loss, start = evidence.config.loss, evidence.first_ta_step
    if loss.absent.kind != "raw_db" or loss.ta_weight == 0 or start is None or evidence.newest.step <= start:
        return None
    newest = evidence.newest.metrics
    return Finding(
        "objective_pays_for_silence",
        "the objective pays for silence",
        (
            f"loss.absent.kind is raw_db: every 10 dB less in TA scenes lower the loss by {10 * loss.ta_weight:g}, "
            "whatever the level",
            f"TA scenes began at step {start}; at step {evidence.newest.step} ta_energy_db is "
            f"{newest['ta_energy_db']:.1f} dB and rms_ratio {newest['rms_ratio']:.2f}",
        ),
        ("loss.absent={kind: hinge}, or {kind: relative}: both end at their target",),
    )


def level_not_held(evidence: Evidence) -> Finding | None:
    """The output level is off on voices that the model knows, and little or nothing in the objective holds it."""
    weight, usual = evidence.config.loss.amplitude_weight, LossConfig().amplitude_weight
    held_out, known = evidence.newest.metrics["rms_ratio"], evidence.known_level(evidence.newest)
    level = held_out if known is None else known
    if weight >= usual or _LOW <= level <= _HIGH:
        return None
    held = "nothing holds" if weight == 0 else "too little holds"
    on_known = "" if known is None else f", and {known:.2f} on training speakers"
    return Finding(
        "level_not_held",
        f"{held} the output level: SI-SDR does not see it",
        (
            f"loss.amplitude_weight is {weight:g}",
            f"rms_ratio is {held_out:.2f} at step {evidence.newest.step}{on_known}",
        ),
        (f"loss.amplitude_weight={usual:g}",),
    )
