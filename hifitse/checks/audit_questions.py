"""The questions of the audit: each measures an objective on stand-in outputs, and answers in plain words.

Gains are common to TP and TA scenes: a model that cannot tell them apart can become quiet in TA scenes only by
turning everything down. All parts of the loss include their weight, in a phase with TA scenes.
"""

import itertools
import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from hifitse.losses import Counts, Objective, term_means
from hifitse.mixing.batch import MicroBatch

GAINS_DB = tuple(float(gain) for gain in range(-60, 21, 2))
"""Gains of the sweep, in dB."""
HOLD_DB = 1.0
"""The TP level is held if the loss over a common gain is lowest within this of the target's level, in dB."""
MAX_REST = 0.5
"""What a TA term may still cost, and still earn by 10 dB more, 20 dB below its target level; before its weight."""
NEGLIGIBLE = 0.01
"""What the energy floor may leave of a TA term that has ended; before its weight."""

WEAKEST_PUSH = 1e-3
"""What a unit weight of the amplitude term earns at least by 1 dB more, where it can measure the level (0.026)."""

Level = Literal["pass", "note", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """One answer of the audit."""

    topic: str
    level: Level
    """note: depends on the model, and is not judged."""
    message: str
    """The answer in plain words, with the remedy."""
    figures: dict[str, float]
    """What was measured."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Curve:
    """The loss of one kind of output over the gain."""

    output: str
    """model, ideal or mixture."""
    gain_db: tuple[float, ...]
    """Gains in dB. At 0 dB, ideal and mixture are at the target's level in TP scenes; in TA scenes, ideal is just
    silent enough, and mixture is the mixture as it is."""
    terms: dict[str, tuple[float, ...]]
    """Part of each term in the loss."""

    @property
    def present(self) -> tuple[float, ...]:
        """Part of the TP scenes in the loss."""
        return tuple(total - part for total, part in zip(self.total, self.absent, strict=True))

    @property
    def absent(self) -> tuple[float, ...]:
        """Part of the TA scenes in the loss."""
        return self.terms.get("absent", (0.0,) * len(self.gain_db))

    @property
    def total(self) -> tuple[float, ...]:
        """The loss."""
        return tuple(sum(parts) for parts in zip(*self.terms.values(), strict=True))


def loss_parts(objective: Objective, scenes: MicroBatch, estimate: Tensor) -> dict[str, Tensor]:
    """Return the part of each term in the loss of an output (B, L)."""
    num_present = int(scenes.present.sum())
    sums = objective.sums(estimate, scenes.target, scenes.mixture, scenes.present, has_absent=True)
    means = term_means(sums, Counts(num_present, len(scenes.present) - num_present))
    return {name: weight * means[name] for name, weight in objective.weights(has_absent=True).items()}


def sweep(objective: Objective, scenes: MicroBatch, name: str, estimate: Tensor) -> Curve:
    """Measure the loss of an output (B, L) at every gain of GAINS_DB."""
    rows = [_parts_at(objective, scenes, estimate, gain_db) for gain_db in GAINS_DB]
    return Curve(name, GAINS_DB, {term: tuple(row[term] for row in rows) for term in rows[0]})


def _parts_at(objective: Objective, scenes: MicroBatch, estimate: Tensor, gain_db: float) -> dict[str, float]:
    with torch.no_grad():
        parts = loss_parts(objective, scenes, estimate * 10 ** (gain_db / 20))
    return {name: part.item() for name, part in parts.items()}


def _slope_below(objective: Objective, scenes: MicroBatch, estimate: Tensor, name: str) -> float:
    """Return d(part of a term)/d(gain) in 1/dB, at HOLD_DB below the output's level."""
    low, high = (_parts_at(objective, scenes, estimate, -HOLD_DB + shift)[name] for shift in (-0.5, 0.5))
    return high - low


def not_finite(*curves: Curve) -> Finding | None:
    """Is there an output whose loss is no number?"""
    for curve in curves:
        for name, values in curve.terms.items():
            for gain_db, value in zip(curve.gain_db, values, strict=True):
                if not math.isfinite(value):
                    message = (
                        f"the term {name} is {value} for the output '{curve.output}' at {gain_db:g} dB: nothing can be "
                        "said of this objective; look for extreme settings in loss and mixing, and for extreme samples"
                    )
                    return Finding("finite terms", "fail", message, {})
    return None


def bounded_terms(*curves: Curve) -> Finding:
    """Can a term go below zero?"""
    # SI-SDR is exempt: it is the signal objective, and only better separation lowers it, no gain does.
    names = [name for name in curves[0].terms if name != "neg_si_sdr"]
    lowest = {name: min(min(curve.terms[name]) for curve in curves) for name in names}
    below = [f"{name} (down to {value:.3g})" for name, value in lowest.items() if value < 0]
    message = "no term but SI-SDR goes below zero"
    if below:
        message = f"{', '.join(below)} goes below zero: no output is ever good enough for it"
    return Finding("bounded terms", "fail" if below else "pass", message, lowest)


def pay_for_silence(objective: Objective, scenes: MicroBatch, silent_enough: Tensor) -> Finding:
    """Does a TA output that is silent enough earn by more silence?

    ClassifiedChange 20 dB below the target level, where a smooth term has faded out.
    """
    topic, weight = "silence", objective.config.ta_weight
    if weight == 0:
        return Finding(topic, "pass", "loss.ta_weight is 0: silence earns nothing, and nothing asks for it", {})
    part = [_parts_at(objective, scenes, silent_enough, -below_db)["absent"] for below_db in (0, 10, 20, 30)]
    first, last, rest = part[0] - part[1], part[2] - part[3], part[3]
    figures = {"earned_by_10_db": first, "earned_by_10_db_20_db_below": last, "rest_30_db_below": rest}
    if last > MAX_REST * weight:
        message = (
            f"every 10 dB of suppression lowers the loss by {last:.2g}: this objective pays for silence; use "
            "loss.absent.kind suppression, hinge or relative"
        )
        return Finding(topic, "fail", message, figures)
    if rest > MAX_REST * weight:
        message = (
            f"the TA term still costs {rest:.2g} where it should have ended: this objective pays for silence down to "
            "the floor of what it can measure; raise loss.absent.target_db"
        )
        return Finding(topic, "fail", message, figures)
    message = "a TA output at its target level earns nothing by more silence"
    if first > NEGLIGIBLE * weight:
        message = (
            f"a TA output at its target level earns {first:.2g} by 10 dB more silence, one 20 dB below it "
            f"{last:.1g}: the term fades out"
        )
    return Finding(topic, "pass", message, figures)


def held_level(objective: Objective, scenes: MicroBatch, very_good: Tensor, copy: Curve) -> Finding:
    """Does the anchor hold the TP level against the TA term?

    Over a common gain of x dB, SI-SDR is constant, the TA term of a mixture falls by ``pull`` per dB (hinge: w), and
    the amplitude term is l_amp (k x)^2 with k = ln(10) / 20. Their sum is lowest at x = -pull / (2 l_amp k^2), so it
    takes l_amp = pull / (2 k^2) = 37.7 w to keep that within 1 dB. Both slopes are measured here; the pull is the
    steepest of the sweep, lest the verdict depend on how loud the scenes happen to be. The phase term is left out:
    it holds the level only of an output that is already separated.
    """
    topic, weight = "TP level", objective.config.amplitude_weight
    pull = max(high - low for low, high in itertools.pairwise(copy.absent)) / (GAINS_DB[1] - GAINS_DB[0])
    anchor = Objective(objective.config.model_copy(update={"amplitude_weight": 1.0}))
    push = -_slope_below(anchor, scenes, very_good, "amplitude")
    if push < WEAKEST_PUSH:
        message = (
            f"the amplitude term does not pull a TP output that is {HOLD_DB:g} dB too quiet up to its level: targets "
            "are too quiet to be measured; raise mixing.level_db"
        )
        return Finding(topic, "warn", message, {"pull_per_db": pull, "push_per_db": weight * push})
    needed = pull / push
    figures = {"pull_per_db": pull, "push_per_db": weight * push, "needed_amplitude_weight": needed}
    remedy = f"loss.amplitude_weight {math.ceil(10 * needed) / 10:g} holds it within {HOLD_DB:g} dB"
    if weight == 0:
        message = "nothing holds the TP level: loss.amplitude_weight is 0, and SI-SDR does not see a gain"
        if pull > 0:
            end = max(gain for gain, part in zip(GAINS_DB, copy.absent, strict=True) if part <= _near(copy.absent))
            figures["lowest_at_db"] = end
            message += (
                f"; each dB by which everything is turned down lowers the loss by up to {pull:.2g}, until {end:g} dB; "
                + remedy
            )
        return Finding(topic, "warn", message, figures)
    figures["lowest_at_db"] = 0.0 - HOLD_DB * needed / weight
    if weight < needed:
        message = f"the TP level is held too weakly: the loss is lowest {needed / weight:.1f} dB below it; {remedy}"
        return Finding(topic, "warn", message, figures)
    message = f"the TP level is held: the loss is lowest {needed / weight:.2f} dB below the target's level"
    return Finding(topic, "pass", message, figures)


def _near(values: tuple[float, ...]) -> float:
    return min(values) + NEGLIGIBLE * (max(values) - min(values))


def phase_pull(objective: Objective, scenes: MicroBatch, copy: Tensor) -> Finding:
    """Does the anchor hold the TP level against the phase term, too, before the model separates?

    The L1 error of an output that is mostly interference falls when the output is turned down.
    """
    pull = _slope_below(objective, scenes, copy, "phase")
    push = 0.0
    if objective.config.amplitude_weight > 0:
        push = -_slope_below(objective, scenes, copy, "amplitude")
    figures = {"pull_per_db": pull, "push_per_db": push}
    if pull > push:
        message = (
            f"before the model separates, the phase term pulls the TP level down by {pull:.2g} per dB, and the "
            f"amplitude term holds against it with {push:.2g}; raise loss.amplitude_weight or lower loss.phase_weight"
        )
        return Finding("phase term", "warn", message, figures)
    return Finding("phase term", "pass", "the phase term does not turn down a model that cannot separate yet", figures)


def present_slopes(objective: Objective, scenes: MicroBatch, output: Tensor) -> Finding:
    """What would the loss gain now if the model's output (B, L) were turned down?"""
    gain_db = torch.zeros((), device=output.device, requires_grad=True)
    parts = loss_parts(objective, scenes, output * 10 ** (gain_db / 20))
    slopes = {
        name: torch.autograd.grad(part, gain_db, retain_graph=True, materialize_grads=True)[0].item()
        for name, part in parts.items()
    }
    total = sum(slopes.values())
    direction = "lowers" if total > 0 else "raises"
    message = f"at the model's present output, 1 dB less {direction} the loss by {abs(total):.2g}"
    return Finding(
        "present slope", "note", message, {"total_per_db": total} | {f"{n}_per_db": s for n, s in slopes.items()}
    )


def gradient_shares(gradients: dict[str, Tensor]) -> Finding:
    """Which term drives the model's weights now? Takes the gradient (N,) of each term's part."""
    norms = {name: gradient.norm().item() for name, gradient in gradients.items()}
    whole = sum(norms.values())
    figures = {f"share_{name}": norm / whole if whole else 0.0 for name, norm in norms.items()}
    shares = ", ".join(f"{name} {norm / whole if whole else 0:.0%}" for name, norm in norms.items())
    message = f"shares of the gradient norms: {shares}"
    present = torch.stack([gradient for name, gradient in gradients.items() if name != "absent"]).sum(dim=0)
    if norms.get("absent", 0.0) > 0 and present.norm() > 0:
        cosine = torch.cosine_similarity(present, gradients["absent"], dim=0).item()
        figures["cosine_tp_ta"] = cosine
        message += f"; cosine of the TP and the TA gradient {cosine:.2f}"
    return Finding("gradients", "note", message, figures)
