"""The audit: what an objective pays for, measured on a few fixed scenes before time is spent on it.

Three outputs are put before the objective at gains from -60 to +20 dB: the model's, an ideal one, and a copy of the
mixture. The verdict rests on the last two alone, so it is a property of the objective, the same for a fresh and for
a trained model. What depends on the model is noted, not judged.
"""

import contextlib
from collections.abc import Generator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hifitse.checks.audit_outputs import audit_scenes, ideal, mixture_copy, select
from hifitse.checks.audit_questions import (
    Curve,
    Finding,
    Level,
    bounded_terms,
    gradient_shares,
    held_level,
    loss_parts,
    not_finite,
    pay_for_silence,
    phase_pull,
    present_slopes,
    sweep,
)
from hifitse.console import info, warn
from hifitse.errors import StoppedError
from hifitse.losses import Objective
from hifitse.mixing.batch import MicroBatch
from hifitse.training.step import TrainingSession


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
    if unmeasured := not_finite(*curves.values()):
        # Nothing else can be asked.
        return Audit((unmeasured,), tuple(curves.values()))
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


def audit_session(session: TrainingSession) -> Audit:
    """Audit the objective of a session on a few scenes of its validation; takes as long as a few training scenes."""
    info("auditing the objective on a few scenes")
    return audit(session.experiment.objective, session.state.model, audit_scenes(session.experiment))


def require_sound_objective(session: TrainingSession, allow_unsafe: bool) -> None:
    """Audit the objective and say what is wrong with it.

    Raises:
        StoppedError: it fails, and that was not allowed.
    """
    found = audit_session(session)
    info(f"audit of the objective: {found.verdict}")
    for finding in found.findings:
        if finding.level in ("warn", "fail"):
            warn(f"{finding.topic}: {finding.message}")
    if found.verdict == "fail" and not allow_unsafe:
        raise StoppedError(
            "not started: the objective pays for what nobody wants; change the loss section, "
            "or add --allow-unsafe-objective to reproduce the failure"
        )


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
