"""Retention deletes what no budget keeps, and never what is protected."""

import json
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hifitse.checkpoint.file import Header, save_checkpoint
from hifitse.config.policies import RetentionConfig
from hifitse.config.schema import Config
from hifitse.evaluation.result import ValidationResult, write_result
from hifitse.evaluation.retention import prune, to_delete
from hifitse.metrics import Sample, aggregate
from hifitse.runs.branches import archive_after
from hifitse.runs.events import EventLog
from hifitse.runs.records import pin, read_events
from hifitse.runs.run import Run

STEPS = [10 * i for i in range(1, 11)]


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[int], RetentionConfig, set[int], list[int], set[int]]:
    steps = sorted(draw(st.sets(st.integers(1, 120), max_size=30)))
    subsets = st.sets(st.sampled_from(steps)) if steps else st.just(set())
    budget = RetentionConfig(
        keep_last=draw(st.integers(1, 6)),
        keep_every=draw(st.none() | st.integers(1, 50)),
        keep_best=draw(st.integers(0, 4)),
    )
    ranking = draw(st.permutations(sorted(draw(subsets))))
    return steps, budget, draw(subsets), list(ranking), draw(subsets)


@given(case=cases())
def test_what_is_protected_stays_and_the_budgets_hold(
    case: tuple[list[int], RetentionConfig, set[int], list[int], set[int]],
) -> None:
    steps, budget, protected, ranking, damaged = case
    assert budget.keep_last is not None
    deleted = to_delete(steps, budget, protected, ranking, lambda step: step not in damaged)
    left = [step for step in steps if step not in deleted]
    assert deleted == sorted(set(steps) & set(deleted))
    assert not set(deleted) & protected

    valid = [step for step in steps if step not in damaged]
    assert not set(deleted) & set(valid[-budget.keep_last :]), "keep_last counts the valid ones"
    if len(valid) < budget.keep_last:
        assert not deleted, "nothing is deleted for ones that cannot be read"
    best = [step for step in ranking if step not in damaged][: budget.keep_best]
    assert not set(deleted) & set(best)
    every = budget.keep_every
    windows = [list(window) for k, window in groupby(steps, lambda s: s // every) if k] if every else []
    for window in windows:
        if set(window) & set(valid):
            assert set(window) & set(valid) & set(left), "one that can be read stays of each"

    # Nothing more is left than somebody asked for.
    old = [step for step in left if deleted and step < valid[-budget.keep_last]]
    assert len(set(old) - protected - set(best)) <= len(windows)
    assert to_delete(left, budget, protected, [s for s in ranking if s in left], lambda s: s not in damaged) == []


def test_by_default_nothing_is_deleted() -> None:
    assert to_delete(STEPS, RetentionConfig(), [], [], lambda step: True) == []


def test_a_budget_without_effect_is_refused() -> None:
    with pytest.raises(ValidationError, match="set keep_last"):
        RetentionConfig(keep_every=100)


def test_multiples_between_checkpoints_keep_the_first_one_after_them() -> None:
    budget = RetentionConfig(keep_last=1, keep_every=25, keep_best=0)
    assert [s for s in STEPS if s not in to_delete(STEPS, budget, [], [], lambda step: True)] == [30, 50, 80, 100]


@pytest.fixture
def config(make_config: Callable[..., Config]) -> Config:
    phases = [{"name": "tp", "until": 20, "absent_ratio": 0}, {"name": "tp_ta", "absent_ratio": 0.3}]
    return make_config(curriculum=phases, retention={"keep_last": 2, "keep_best": 1})


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Ten validated checkpoints; the best is that of step 50, from 80 on the level is unhealthy."""
    run = Run(tmp_path / "run")
    for step in STEPS:
        save_checkpoint(run.checkpoint_path(step), Header(step, {}, ""), {"model/w": torch.ones(2)})
        quality, level = 5.0 - abs(step - 50) / 100, 1.0 if step < 80 else 0.5
        samples = (
            Sample(0, True, si_sdr_db=quality, si_sdri_db=0.0, rms_estimate=level, rms_target=1.0),
            Sample(1, False, energy_db=-30.0, suppression_db=10.0),
        )
        metrics = aggregate(samples, 0.0)
        result = ValidationResult(
            step=step, scenes_digest="scenes", metrics=metrics, model_metrics=metrics, terms={}, samples=samples
        )
        write_result(run, result)
    return run


def test_everything_that_somebody_may_go_back_to_stays(run: Run, config: Config) -> None:
    pin(run, 30, "a figure")
    run.best_path.write_text(json.dumps({"step": 40, "metric": "tp_si_sdr", "value": 1}))
    archive_after(run, 90)
    (run.archived_folders()[0] / "branch.json").write_text(json.dumps({"after_step": 60, "digest": None}))
    reported: list[str] = []
    prune(run, config, EventLog(run, reported.append))
    # 20: end of a phase, 30: pinned, 40: chosen, 50: best, 60: start of an archived branch, 70: newest healthy.
    assert run.checkpoint_steps() == [20, 30, 40, 50, 60, 70, 80, 90]
    assert run.validation_steps() == STEPS[:9], "the curves stay whole"
    assert [(event.kind, event.get("checkpoint")) for event in read_events(run)] == [("deleted", 10)]
    assert "step 10 deleted by retention" in reported[0]


def test_damaged_checkpoints_use_up_no_budget(run: Run, config: Config) -> None:
    for step in (90, 100):
        run.checkpoint_path(step).write_bytes(b"torn")
    prune(run, config, EventLog(run, lambda _: None))
    assert run.checkpoint_steps() == [20, 50, 70, 80, 90, 100]


@pytest.mark.parametrize(
    "name",
    ["pins.json", "best.json", "abandoned/01/branch.json", "abandoned/01/line.json", "validation/step_00000050.json"],
)
def test_records_that_cannot_be_read_keep_everything(run: Run, config: Config, name: str) -> None:
    (run.path / name).parent.mkdir(parents=True, exist_ok=True)
    (run.path / name).write_text("{torn")
    prune(run, config, EventLog(run, lambda _: None))
    assert run.checkpoint_steps() == STEPS
    assert [event.kind for event in read_events(run)] == ["retention_failed"]
