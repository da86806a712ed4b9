"""The smoke test: a short real training on a scratch copy, and what must be true of it."""

import math
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hifitse.checkpoint.file import load_checkpoint, save_checkpoint
from hifitse.checks.audit import Audit
from hifitse.config.schema import Config, LossConfig
from hifitse.evaluation.result import ValidationResult
from hifitse.evaluation.validation import validate
from hifitse.mixing.curriculum import phase_at
from hifitse.training.state import TrainState, header, to_tensors
from hifitse.training.step import StepResult, TrainingSession

NUM_REPLAYED_STEPS = 2
"""Steps at the end that are done twice: once straight on, once after a save and a load."""


@dataclass(frozen=True)
class Check:
    name: str
    passed: bool
    value: float | str
    limit: float | str
    detail: str

    def to_json(self) -> dict[str, Any]:
        return vars(self)


def smoke_config(config: Config, first_step: int, num_steps: int) -> Config:
    """Return the config with the phases from ``first_step`` on shortened to share ``num_steps`` equally.

    So a smoke test hears every phase that is still to come, TA scenes included. Nothing else
    changes: the learning rate is the one of the step.
    """
    index = config.curriculum.index(phase_at(config, first_step))
    phases = config.curriculum[index:]
    ends = [first_step + num_steps * (i + 1) // len(phases) for i in range(len(phases) - 1)]
    short = [phase.model_copy(update={"until": end}) for phase, end in zip(phases, [*ends, None], strict=True)]
    return config.model_copy(update={"curriculum": tuple(short)})


def smoke(session: TrainingSession, num_steps: int, progress: Callable[[StepResult], None]) -> list[Check]:
    """Train ``num_steps`` steps from the state of a session, validate, and check what came of it. Writes no run."""
    experiment, state = session.experiment, session.state
    stop_step = state.step + num_steps
    replay_step = max(stop_step - NUM_REPLAYED_STEPS, state.step)
    with tempfile.TemporaryDirectory(prefix="hifitse-smoke-") as scratch:
        saved = Path(scratch) / "checkpoint.safetensors"
        results = _watched(session.steps(replay_step), progress)
        save_checkpoint(saved, header(state, experiment), to_tensors(state))
        straight = _watched(session.steps(stop_step), progress)
        again = TrainingSession.resumed(experiment, load_checkpoint(saved))
        repeated = list(again.steps(stop_step))
    results += straight
    validation = validate(state.ema, state.model, experiment, state.step)
    return [
        _finite(results, validation),
        _absent_not_negative(results),
        _round_trip(state, again.state, straight, repeated),
        _one_ta_weight(results, validation, experiment.config.loss),
    ]


def audit_check(audit: Audit) -> Check:
    """Turn an audit of the objective into a check: a warning passes, a failure does not."""
    worst = next((finding for finding in audit.findings if finding.level == audit.verdict), audit.findings[0])
    detail = "see the findings" if audit.verdict == "pass" else worst.message
    return Check("the objective pays for nothing unwanted", audit.verdict != "fail", audit.verdict, "warn", detail)


def _watched(steps: Iterable[StepResult], progress: Callable[[StepResult], None]) -> list[StepResult]:
    results = []
    for result in steps:
        results.append(result)
        progress(result)
    return results


def _finite(results: list[StepResult], validation: ValidationResult) -> Check:
    bad = [r.step for r in results if r.skipped or not math.isfinite(r.loss)]
    bad_metrics = [name for name, value in validation.metrics.items() if not math.isfinite(value)]
    detail = f"first at step {bad[0]}" if bad else f"not finite: {', '.join(bad_metrics)}" if bad_metrics else ""
    return Check(
        "everything is finite",
        not bad and not bad_metrics,
        len(bad) + len(bad_metrics),
        0,
        detail or f"loss and gradient of {len(results)} steps, and all metrics",
    )


def _absent_not_negative(results: list[StepResult]) -> Check:
    heard = [(r.terms["absent"], r.step) for r in results if r.ta_energy_db is not None and "absent" in r.terms]
    if not heard:
        return Check("the TA loss is never below 0", True, "none", 0, "no TA scene in these steps")
    lowest, step = min(heard)
    detail = f"over {len(heard)} steps with TA scenes"
    if lowest < 0:
        detail = f"at step {step}: loss.absent.kind pays for silence; use suppression, hinge or relative"
    return Check("the TA loss is never below 0", lowest >= 0, lowest, 0, detail)


def _round_trip(state: TrainState, replayed: TrainState, once: list[StepResult], again: list[StepResult]) -> Check:
    before, after = to_tensors(state), to_tensors(replayed)
    differing = [name for name in before if name not in after or not torch.equal(before[name], after[name])]
    rows_equal = once == again
    detail = f"{len(before)} tensors and {len(again)} steps after a save and a load"
    if differing:
        detail = f"{differing[0]} differs first; on a GPU set train.deterministic"
    elif not rows_equal:
        detail = "the weights agree, but the measured steps do not"
    return Check("resume is exact, bit for bit", not differing and rows_equal, len(differing), 0, detail)


def _one_ta_weight(results: list[StepResult], validation: ValidationResult, config: LossConfig) -> Check:
    """Solve the losses that were really computed for the weight that they were computed with."""
    trained = [(r.loss, r.terms) for r in results if r.ta_energy_db is not None]
    weights = [
        _implied_ta_weight(loss, terms, config)
        for loss, terms in [*trained, (validation.metrics["val_loss"], validation.terms)]
    ]
    worst = max(weights, key=lambda weight: abs(weight - config.ta_weight))
    return Check(
        "train and validate use one ta_weight",
        math.isclose(worst, config.ta_weight, abs_tol=1e-3),
        worst,
        config.ta_weight,
        f"solved from the validation loss and {len(trained)} training losses",
    )


def _implied_ta_weight(loss: float, terms: dict[str, float], config: LossConfig) -> float:
    """Return the w of ``loss = (1-w) neg_si_sdr + w absent + l_amp amplitude + l_phase phase``."""
    rest = config.amplitude_weight * terms.get("amplitude", 0.0) + config.phase_weight * terms.get("phase", 0.0)
    if "absent" not in terms:
        return 0.0
    difference = terms["absent"] - terms["neg_si_sdr"]
    return (loss - rest - terms["neg_si_sdr"]) / difference if difference else config.ta_weight
