"""Guards judge the history of a run; the histories of the two runs that fell silent must stop both."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from hifitse.config.policies import Guard
from hifitse.config.schema import Config
from hifitse.evaluation.guards import StepMetrics, Violation, gate, is_healthy, judge

# (step, rms_ratio, ta_energy_db, tp_si_sdr)
RAW_DB_RUN = [
    (200_000, 1.327, -23.8, -4.32),
    (210_000, 1.038, -25.9, -3.72),
    (220_000, 0.746, -30.6, -2.83),
    (230_000, 0.633, -30.6, -3.74),
]
HINGE_RUN = [
    (200_000, 1.180, -23.8, -4.0),
    (210_000, 1.038, -25.5, -4.0),
    (225_000, 0.906, -29.3, -4.0),
    (235_000, 0.738, -28.6, -4.0),
    (240_000, 0.752, -30.7, -4.0),
]


@pytest.fixture
def config(make_config: Callable[..., Config]) -> Config:
    """The phases of the runs that fell silent, and the default guards."""
    phases = [{"name": "tp", "until": 200_000, "absent_ratio": 0}, {"name": "tp_ta", "absent_ratio": 0.2}]
    return make_config(curriculum=phases, train={"total_steps": 500_000})


def with_guard(config: Config, **fields: Any) -> Config:
    guard = Guard(name="test", **fields)
    return config.model_copy(update={"health": config.health.model_copy(update={"guards": (guard,)})})


def metrics(rms_ratio: float = 1.0, ta_energy_db: float = -25.0, tp_si_sdr: float = 5.0, **more: float) -> dict:
    given = {"rms_ratio": rms_ratio, "ta_energy_db": ta_energy_db, "tp_si_sdr": tp_si_sdr}
    return {"tp_si_sdri": 5.0, "ta_suppression_db": 5.0, "val_loss": 0.0} | given | more


def reading(step: int, **both: float) -> StepMetrics:
    """Return a validation in which EMA weights and model weights measure the same."""
    return StepMetrics(step, ema=metrics(**both), model=metrics(**both))


def history(rows: Sequence[tuple[int, float, float, float]]) -> list[StepMetrics]:
    return [
        reading(step, rms_ratio=ratio, ta_energy_db=energy, tp_si_sdr=si_sdr) for step, ratio, energy, si_sdr in rows
    ]


def first_stop(config: Config, history: list[StepMetrics]) -> Violation | None:
    for end in range(1, len(history) + 1):
        for violation in judge(config, history[:end]):
            if violation.action == "stop":
                return violation
    return None


@pytest.mark.parametrize(
    ("rows", "first_unhealthy", "stopped"), [(RAW_DB_RUN, 220_000, 230_000), (HINGE_RUN, 235_000, 240_000)]
)
def test_the_runs_that_fell_silent_are_stopped(
    config: Config, rows: Sequence[tuple[int, float, float, float]], first_unhealthy: int, stopped: int
) -> None:
    readings = history(rows)
    reported = next(r.step for end, r in enumerate(readings, 1) if judge(config, readings[:end]))
    assert reported == first_unhealthy, "the first unhealthy validation is reported at once"
    violation = first_stop(config, readings)
    assert violation is not None and violation.values[-1][0] == stopped
    assert "rms_ratio" in violation.message and f"step {stopped}" in violation.message
    assert f"step {first_unhealthy}" in violation.message


def test_a_healthy_history_is_left_alone(config: Config) -> None:
    history = [reading(200_000 + 5000 * i, rms_ratio=1.0 - 0.02 * (i % 3), ta_energy_db=-30 - i) for i in range(6)]
    assert all(judge(config, history[:end]) == [] for end in range(1, 7))


def test_a_recovery_starts_the_count_again(config: Config) -> None:
    ratios = [0.7, 0.9, 0.7, 1.0, 0.75]
    assert first_stop(config, [reading(210_000 + i, rms_ratio=r) for i, r in enumerate(ratios)]) is None


def test_a_phase_without_ta_scenes_is_not_judged_by_its_level(config: Config) -> None:
    """The validation at the boundary measures the work of the phase that ends there."""
    history = [reading(step, rms_ratio=2.0) for step in (190_000, 195_000, 200_000)]
    assert judge(config, history) == []
    assert [c.action for c in judge(config, [*history, reading(200_001, rms_ratio=2.0)])] == ["warn", "warn"]


def test_model_weights_show_a_collapse_before_the_ema_weights(config: Config) -> None:
    history = [StepMetrics(210_000 + i, ema=metrics(rms_ratio=0.95), model=metrics(rms_ratio=0.5)) for i in range(2)]
    (violation,) = judge(config, history)
    assert (violation.weights, violation.action) == ("model", "stop")
    assert "of the model weights at step 210001" in violation.message


def test_too_low_a_ta_energy_is_reported_but_bars_nothing(config: Config) -> None:
    history = [reading(210_000 + i, ta_energy_db=-37.0) for i in range(4)]
    assert {c.guard.name for c in judge(config, history)} == {"over_suppression"}
    assert is_healthy(config, history)
    assert {bound.metric.name for bound in gate(config)} == {"rms_ratio"}


@pytest.mark.parametrize("kind", ["relative", "suppression"])
def test_the_target_of_a_relative_objective_is_relative(config: Config, kind: str) -> None:
    absent = config.loss.absent.model_copy(update={"kind": kind, "relative_floor": 0.01, "suppression_db": 20.0})
    config = config.model_copy(update={"loss": config.loss.model_copy(update={"absent": absent})})
    quiet = [reading(210_000, ta_energy_db=-70.0, ta_suppression_db=25.9)]
    quieter = [reading(210_000, ta_energy_db=-70.0, ta_suppression_db=26.1)]
    assert judge(config, quiet) == []
    assert {c.bound.metric.name for c in judge(config, quieter)} == {"ta_suppression_db"}


@pytest.mark.parametrize(
    ("metric", "values", "acts"),
    [
        ("tp_si_sdr", [5.0, 8.0, 5.9, 5.8, 5.7], True),
        ("tp_si_sdr", [5.0, 8.0, 6.1, 6.1, 6.1], False),
        ("tp_si_sdr", [5.0, 8.0, 5.9, 6.5, 5.7], False),
        ("val_loss", [5.0, 2.0, 4.1, 4.1, 4.1], True),
        ("tp_si_sdr", [math.nan, 3.0, 2.9, 3.0, 3.1], False),
    ],
)
def test_behind_best_compares_with_the_best_so_far(
    config: Config, metric: str, values: list[float], acts: bool
) -> None:
    config = with_guard(config, metric=metric, behind_best=2, patience=3)
    stop = first_stop(config, [reading(1000 * i, **{metric: value}) for i, value in enumerate(values, 1)])
    assert (stop is not None) is acts


def test_a_metric_that_is_not_a_number_is_unhealthy(config: Config) -> None:
    assert not is_healthy(config, [reading(210_000, rms_ratio=math.nan)])


def test_ignored_guards_say_nothing_but_still_gate(config: Config) -> None:
    config = with_guard(config, metric="rms_ratio", below=0.8, action="ignore")
    assert judge(config, [reading(210_000, rms_ratio=0.1)] * 3) == []
    assert [bound.violation(metrics(rms_ratio=0.5)) for bound in gate(config)] == ["rms_ratio 0.500 is below 0.8"]
