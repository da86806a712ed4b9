"""The audit: what an objective pays for, measured on a few fixed scenes before time is spent on it.

Three outputs are put before the objective at gains from -60 to +20 dB: the model's, an ideal one, and a copy of the
mixture. The verdict rests on the last two alone, so it is a property of the objective, the same for a fresh and for
a trained model. What depends on the model is noted, not judged.
"""

import contextlib
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hifitse.checks.audit_outputs import ideal, mixture_copy, select
from hifitse.checks.audit_questions import (
    Curve,
    Finding,
    Level,
    bounded_terms,
    gradient_shares,
    held_level,
    loss_parts,
    pay_for_silence,
    phase_pull,
    present_slopes,
    sweep,
)
from hifitse.losses import Objective
from hifitse.mixing.batch import MicroBatch


@dataclass(frozen=True)
class Audit:
    """What was found, and the curves that show it."""

    findings: tuple[Finding, ...]
    curves: tuple[Curve, ...]

    @property
    def verdict(self) -> Level:
        """The worst of the findings: pass, warn or fail."""
        found = {finding.level for finding in self.findings}
        return "fail" if "fail" in found else "warn" if "warn" in found else "pass"

    def to_json(self) -> dict[str, Any]:
        return {
            "verdict": self.verdict,
            "findings": [finding.to_json() for finding in self.findings],
            "curves": [curve.to_json() for curve in self.curves],
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Audit":
        curves = (
            Curve(row["output"], tuple(row["gain_db"]), {name: tuple(part) for name, part in row["terms"].items()})
            for row in data["curves"]
        )
        return cls(tuple(Finding(**finding) for finding in data["findings"]), tuple(curves))


def audit(objective: Objective, model: nn.Module, scenes: MicroBatch) -> Audit:
    """Measure what an objective pays for in a phase with TA scenes. Changes neither the model nor random state.

    Args:
        model: the one in training. It runs in training mode (on a GPU, LSTMs have no gradient in the other), in the
            precision of its weights.
        scenes: TP and TA scenes on the model's device, see `audit_scenes.audit_scenes`.
    """
    assert scenes.present.any() and not scenes.present.all(), "an audit needs TP and TA scenes"
    device = scenes.mixture.device
    with torch.enable_grad(), torch.random.fork_rng([device] if device.type == "cuda" else []), _training_mode(model):
        output, gradients = _run(objective, model, scenes)
        slopes = present_slopes(objective, scenes, output)
    very_good, copy = ideal(objective.config.absent, scenes), mixture_copy(scenes)
    curves = {
        name: sweep(objective, scenes, name, waveform)
        for name, waveform in (("model", output), ("ideal", very_good), ("mixture", copy))
    }
    findings = [
        bounded_terms(curves["ideal"], curves["mixture"]),
        pay_for_silence(objective, scenes, very_good),
        held_level(objective, scenes, very_good, curves["mixture"]),
    ]
    if objective.config.phase_weight > 0:
        findings.append(phase_pull(objective, scenes, copy))
    findings.append(slopes)
    if gradients:
        findings.append(gradient_shares(gradients))
    return Audit(tuple(findings), tuple(curves.values()))


@contextlib.contextmanager
def _training_mode(model: nn.Module) -> Generator[None]:
    modes = {module: module.training for module in model.modules()}
    model.train()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def _run(objective: Objective, model: nn.Module, scenes: MicroBatch) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the model's output (B, L), and the gradient of each term with respect to all its weights (N,), if any."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    output = torch.zeros_like(scenes.mixture)
    gradients: dict[str, Tensor] = {}
    # TP and TA scenes apart: the gradient of a term then costs only the way back through its own scenes.
    for kind in (scenes.present, ~scenes.present):
        part = select(scenes, kind)
        estimate = model(part.mixture, part.reference)
        output[kind] = estimate.detach().float()
        if not parameters:
            continue
        for name, term in loss_parts(objective, part, estimate).items():
            if (name != "absent") == bool(part.present[0]):
                parts = torch.autograd.grad(
                    term, parameters, retain_graph=True, allow_unused=True, materialize_grads=True
                )
                gradients[name] = torch.cat([gradient.flatten().float() for gradient in parts])
    return output, gradients
