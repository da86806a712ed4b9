"""Unhealthy steps and validations end as configured: nothing is lost, learning goes on, the event log has it."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from hifitse.checkpoint.file import Checkpoint, load_checkpoint
from hifitse.evaluation.result import read_result
from hifitse.losses import Objective
from hifitse.runs import branches
from hifitse.runs.records import exact_metrics, read_events, read_metrics
from hifitse.runs.run import Run
from hifitse.training import step as stepping
from tests.helpers import TINY, Cli

Sabotage = Callable[..., None]


@pytest.fixture
def sabotage(monkeypatch: pytest.MonkeyPatch) -> Sabotage:
    """Multiply the loss, and with it the gradient, of chosen steps by NaN or by a million."""

    def begin(factor: float, is_hit: Callable[[int], bool], times: float = math.inf) -> None:
        original_step, original_loss = stepping.train_step, Objective.loss
        hits = {"now": False, "left": times}

        def step(state: Any, *arguments: Any) -> stepping.StepResult:
            hits["now"] = is_hit(state.step + 1) and hits["left"] > 0
            hits["left"] -= hits["now"]
            try:
                return original_step(state, *arguments)
            finally:
                hits["now"] = False

        def loss(self: Objective, *arguments: Any, **named: Any) -> torch.Tensor:
            return original_loss(self, *arguments, **named) * (factor if hits["now"] else 1.0)

        monkeypatch.setattr(stepping, "train_step", step)
        monkeypatch.setattr(Objective, "loss", loss)

    return begin


def settings(*overrides: str) -> Iterator[str]:
    for override in ("train.checkpoint_every=1", "train.validate_every=2", "health.spike.window=10", *overrides):
        yield from ("--set", override)


def kinds(run: Run) -> list[tuple[str, int]]:
    return [(event.kind, event.step) for event in read_events(run)]


def weights(run: Run, step: int) -> Checkpoint:
    return load_checkpoint(run.checkpoint_path(step))


def equal(a: Checkpoint, b: Checkpoint) -> bool:
    return all(torch.equal(tensor, b.tensors[name]) for name, tensor in a.tensors.items())


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "run")


@pytest.mark.parametrize("factor", [math.nan, math.inf, 1e6], ids=["nan", "inf", "spike"])
def test_one_unhealthy_batch_is_not_taken_and_harms_nothing(
    cli: Cli, run: Run, tmp_path: Path, sabotage: Sabotage, factor: float
) -> None:
    clean = Run(tmp_path / "clean")
    assert cli("train", "--config", TINY, "--run", clean.path, *settings()).code == 0
    sabotage(factor, lambda step: step == 8)
    outcome = cli("train", "--config", TINY, "--run", run.path, *settings())
    assert outcome.code == 0
    assert "step 8 was not taken" in outcome.err
    assert kinds(run) == [("started", 0), ("skipped", 8), ("finished", 12)]
    assert equal(weights(run, 7), weights(clean, 7)) and equal(weights(run, 7), weights(run, 8))
    assert not equal(weights(run, 8), weights(run, 9)), "the learning goes on"
    assert all(torch.isfinite(tensor).all() for tensor in weights(run, 12).tensors.values())
    ours, theirs = (read_result(r, 12).metrics["val_loss"] for r in (run, clean))
    assert ours == pytest.approx(theirs, rel=0.1)


def test_a_burst_within_the_patience_is_borne(cli: Cli, run: Run, sabotage: Sabotage) -> None:
    sabotage(math.nan, lambda step: 5 <= step <= 8)
    assert cli("train", "--config", TINY, "--run", run.path, *settings()).code == 0
    assert [step for kind, step in kinds(run) if kind == "skipped"] == [5, 6, 7, 8]


def test_unhealthy_batches_without_end_stop_the_run_and_it_can_be_resumed(
    cli: Cli, run: Run, sabotage: Sabotage, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context():
        sabotage(math.nan, lambda step: step >= 4)
        outcome = cli("train", "--config", TINY, "--run", run.path, *settings())
        assert outcome.code == 3
        assert "guard non_finite" in outcome.err and "hifitse resume" in outcome.err
        assert kinds(run)[-2:] == [("skipped", 8), ("stopped", 8)]
        assert equal(weights(run, 3), weights(run, 8))
    monkeypatch.undo()
    assert cli("resume", "--run", run.path).code == 0
    assert run.checkpoint_steps()[-1] == 12
    assert kinds(run)[-1] == ("finished", 12)


@pytest.mark.parametrize(("factor", "guard"), [(math.nan, "non_finite"), (1e6, "spike")], ids=["nan", "spike"])
def test_a_rollback_goes_back_with_a_lower_learning_rate_and_learns_on(
    cli: Cli, run: Run, sabotage: Sabotage, factor: float, guard: str
) -> None:
    sabotage(factor, lambda step: step in (7, 8), times=2)
    overrides = settings(f"health.{guard}.action=rollback", f"health.{guard}.patience=2")
    outcome = cli("train", "--config", TINY, "--run", run.path, *overrides)
    assert outcome.code == 0, outcome.err
    assert kinds(run) == [("started", 0), ("skipped", 7), ("skipped", 8), ("rollback", 8), ("finished", 12)]
    last = load_checkpoint(run.checkpoint_path(12)).header
    assert (last.num_rollbacks, last.learning_rate_factor, last.optimizer_reset_step) == (1, 0.5, 6)
    rates = {row.step: row.get("learning_rate") for row in read_metrics(run) if row.kind == "step"}
    abandoned = Run(run.path / "abandoned" / "01")
    assert abandoned.checkpoint_steps() == [6, 7, 8]
    before = {row.step: row.get("learning_rate") for row in read_metrics(abandoned) if row.kind == "step"}
    # Past the warm-up of the fresh optimizer it is half of what it was before.
    assert rates[8] == pytest.approx(0.5 * before[8])
    kept, replaced = load_checkpoint(abandoned.checkpoint_path(6)), load_checkpoint(run.checkpoint_path(6))
    assert any(name.startswith("optimizer/") for name in kept.tensors)
    assert not any(name.startswith("optimizer/") for name in replaced.tensors)
    assert replaced.header.parent == kept.digest


def test_rollbacks_come_to_an_end(cli: Cli, run: Run, sabotage: Sabotage) -> None:
    sabotage(math.nan, lambda step: step >= 7)
    overrides = ("health.non_finite.action=rollback", "health.non_finite.patience=2", "health.max_rollbacks=2")
    outcome = cli("train", "--config", TINY, "--run", run.path, *settings(*overrides))
    assert outcome.code == 3
    assert "health.max_rollbacks 2 reached" in outcome.err
    assert [kind for kind, _ in kinds(run)].count("rollback") == 2
    last = load_checkpoint(run.checkpoint_path(run.checkpoint_steps()[-1])).header
    assert (last.step, last.num_rollbacks, last.learning_rate_factor) == (8, 2, 0.25)


UNHEALTHY_LEVEL = ("health.guards=[{name: level_low, metric: rms_ratio, below: 100, phases: with_ta}]",)


def test_an_unhealthy_level_stops_the_run_at_the_second_validation_and_says_how_to_go_on(cli: Cli, run: Run) -> None:
    outcome = cli("train", "--config", TINY, "--run", run.path, *settings(*UNHEALTHY_LEVEL))
    assert outcome.code == 3
    reported = [(event.step, event.get("action")) for event in read_events(run) if event.kind == "sick"]
    assert reported == [(6, "warn"), (6, "warn"), (8, "stop"), (8, "stop")], "EMA weights and model weights, each"
    assert kinds(run)[-1] == ("stopped", 8)
    assert f"hifitse resume --run {run.path} --from 4 --reset-optimizer" in outcome.err
    assert "--set health.guards.level_low.action=warn" in outcome.err
    assert run.checkpoint_steps()[-1] == 8

    again = cli("resume", "--run", run.path)
    assert again.code == 3, "an unhealthy run does not go on by accident"
    assert run.checkpoint_steps()[-1] == 8
    assert cli("resume", "--run", run.path, "--set", "health.guards.level_low.action=warn").code == 0
    assert run.checkpoint_steps()[-1] == 12


def test_a_run_that_was_stopped_at_its_last_step_is_not_called_finished(cli: Cli, run: Run) -> None:
    assert cli("train", "--config", TINY, "--run", run.path, "--set", UNHEALTHY_LEVEL[0]).code == 3
    assert kinds(run)[-1] == ("stopped", 12)
    assert cli("resume", "--run", run.path).code == 3
    assert cli("resume", "--run", run.path, "--set", "health.guards.level_low.action=warn").code == 0
    assert "finished at step 12" in cli("resume", "--run", run.path).err


def test_a_rollback_that_was_killed_half_way_is_done_again(
    cli: Cli, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = settings(UNHEALTHY_LEVEL[0].replace("}]", ", action: rollback}]"), "health.max_rollbacks=1")
    arguments = ("--config", TINY, *overrides)
    straight = Run(tmp_path / "straight")
    assert cli("train", "--run", straight.path, *arguments).code == 3

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(branches, "archive_after", lambda run, step, folder=None: killed() if folder else None)
        assert cli("train", "--run", run.path, *arguments).code == 130
    assert run.checkpoint_steps()[-1] == 8
    assert cli("resume", "--run", run.path).code == 3
    ours, theirs = (load_checkpoint(r.checkpoint_path(8)) for r in (run, straight))
    assert equal(ours, theirs)
    assert ours.header.learning_rate_factor == theirs.header.learning_rate_factor == 0.5
    assert exact_metrics(run) == exact_metrics(straight)


def test_selection_refuses_what_the_guards_refuse(cli: Cli, trained: Path) -> None:
    outcome = cli("select-best", "--run", trained, "--set", "health.guards.level_low.below=100")
    assert outcome.code == 1
    assert "rms_ratio" in outcome.err and "is below 100" in outcome.err


def test_a_rollback_of_steps_that_was_killed_half_way_is_done_again(
    cli: Cli, run: Run, sabotage: Sabotage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    sabotage(math.nan, lambda step: step in (7, 8), times=2)
    overrides = settings("health.non_finite.action=rollback", "health.non_finite.patience=2")
    with monkeypatch.context() as patch:
        patch.setattr(branches, "archive_after", lambda run, step, folder=None: killed() if folder else None)
        assert cli("train", "--config", TINY, "--run", run.path, *overrides).code == 130
    assert run.checkpoint_steps()[-1] == 8
    assert cli("resume", "--run", run.path).code == 0
    assert [step for kind, step in kinds(run) if kind == "rollback"] == [8]
    assert load_checkpoint(run.checkpoint_path(12)).header.num_rollbacks == 1
    (folder,) = (run.path / "abandoned").iterdir()
    kept = load_checkpoint(Run(folder).checkpoint_path(6))
    assert (folder / "branch.json").exists() and any(name.startswith("optimizer/") for name in kept.tensors)


def test_a_step_that_does_not_fit_into_memory_costs_no_finished_step(
    cli: Cli, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = stepping.train_step

    def step(state: Any, batches: Any, experiment: Any) -> stepping.StepResult:
        def starved() -> Iterator[Any]:
            raise torch.OutOfMemoryError("CUDA out of memory")
            yield

        return original(state, starved() if state.step == 9 else batches, experiment)

    with monkeypatch.context() as patch:
        patch.setattr(stepping, "train_step", step)
        outcome = cli("train", "--config", TINY, "--run", run.path, "--set", "train.checkpoint_every=100")
    assert outcome.code == 1
    assert "step 10 cannot be done: out of memory; lower train.micro_batch_size" in outcome.err
    assert run.checkpoint_steps()[-1] == 9 and kinds(run)[-1] == ("failed", 9)
    assert "OutOfMemoryError" in read_events(run)[-1].get("traceback")
    assert cli("resume", "--run", run.path).code == 0
