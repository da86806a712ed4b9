"""Selection on runs whose validations are known."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hifitse.checkpoint.file import Header, save_checkpoint
from hifitse.errors import HifitseError, UsageError
from hifitse.evaluation.bounds import Bound
from hifitse.evaluation.comparison.paired import Verdict
from hifitse.evaluation.result import ValidationResult, read_result, write_result
from hifitse.evaluation.selection import choose, select
from hifitse.metrics import METRICS, Sample, aggregate
from hifitse.runs.checkpoint_ref import CheckpointRef
from hifitse.runs.run import Run

GATES = [Bound.parse("rms_ratio>=0.8"), Bound.parse("rms_ratio<=1.25")]
METRIC = METRICS["tp_si_sdr"]


def add(run: Run, step: int, si_sdr_db: float, rms_ratio: float, val_loss: float, digest: str = "scenes") -> None:
    """Give the run a checkpoint with a validation of three TP scenes and one TA scene."""
    save_checkpoint(run.checkpoint_path(step), Header(step, {}, ""), {"model/w": torch.ones(2)})
    spreads, speakers = (-1.0, 0.0, 1.0), ("ada", "bob", "eve")
    samples = tuple(
        Sample(i, True, si_sdr_db + spread, 0.0, rms_estimate=rms_ratio, rms_target=1.0, speaker=speakers[i])
        for i, spread in enumerate(spreads)
    ) + (Sample(3, False, energy_db=-40.0, suppression_db=20.0),)
    metrics = aggregate(samples, val_loss)
    result = ValidationResult(
        step=step, scenes_digest=digest, metrics=metrics, model_metrics=metrics, terms={}, samples=samples
    )
    write_result(run, result)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """The failure that hifitse was born from: the most suppressed checkpoint has the lowest loss."""
    run = Run(tmp_path / "run")
    add(run, 200, -4.32, 1.2, -1.0)
    add(run, 210, -3.72, 1.038, -2.0)
    add(run, 220, -2.83, 0.746, -3.0)
    add(run, 230, -3.74, 0.633, -2.5)
    return run


def test_the_gate_keeps_the_suppressed_checkpoint_from_being_best(run: Run) -> None:
    selection = choose(run, METRIC, GATES)
    assert [ranked.step for ranked in selection.ranking] == [210, 200]
    assert selection.lowest_val_loss_step == 220
    assert {item.step: item.reason for item in selection.excluded} == {
        220: "rms_ratio 0.746 is below 0.8",
        230: "rms_ratio 0.633 is below 0.8",
    }
    assert json.loads(run.best_path.read_text())["step"] == 210
    assert CheckpointRef("best").path(run) == run.checkpoint_path(210)


def test_without_the_gate_it_would_have_won(run: Run) -> None:
    assert select(run, METRIC, []).best.step == 220


def test_the_difference_to_the_best_is_paired_by_scene(run: Run) -> None:
    behind = select(run, METRIC, GATES).ranking[1].behind_best
    assert behind and behind.interval.num_speakers == 3
    assert behind.interval.mean == pytest.approx(0.6)
    assert behind.interval.standard_error == pytest.approx(0, abs=1e-9)


def test_a_result_that_does_not_say_who_speaks_borrows_it_or_has_no_error(run: Run) -> None:
    for step in (210, 200):
        result = read_result(run, step)
        samples = tuple(replace(sample, speaker=None) for sample in result.samples)
        write_result(run, result.model_copy(update={"samples": samples}))
        behind = select(run, METRIC, GATES).ranking[1].behind_best
        assert behind and math.isnan(behind.interval.standard_error) == (step == 200)


def test_a_metric_that_an_older_version_did_not_measure_is_a_reason_and_never_made_up(run: Run) -> None:
    newer = read_result(run, 230)
    write_result(run, newer.model_copy(update={"metrics": newer.metrics | {"confusion_rate": 0.1}}))
    selection = select(run, METRICS["confusion_rate"], [])
    assert [ranked.step for ranked in selection.ranking] == [230]
    said = "confusion_rate was not measured when it was validated; hifitse validate --run "
    assert {item.reason for item in selection.excluded} == {f"{said}{run.argument} --from {s}" for s in (200, 210, 220)}
    bound = [Bound.parse("confusion_rate<=0.2")]
    assert [ranked.step for ranked in select(run, METRIC, bound).ranking] == [230]


def test_a_damaged_winner_is_passed_over(run: Run) -> None:
    path = run.checkpoint_path(210)
    path.write_bytes(path.read_bytes()[:-1])
    selection = select(run, METRIC, GATES)
    assert selection.best.step == 200
    assert "damaged" in selection.excluded[0].reason


def test_checkpoints_without_a_comparable_validation_are_left_out_with_the_remedy(run: Run) -> None:
    add(run, 205, 99.0, 1.0, -9.0, digest="another")
    run.validation_path(200).unlink()
    reasons = {item.step: item.reason for item in select(run, METRIC, GATES).excluded}
    assert "--from 205" in reasons[205]
    # A checkpoint between validations was not left out of anything.
    assert 200 not in reasons


def add_tied(run: Run, step: int, si_sdr_db: float, rms_ratios: tuple[float, float, float]) -> None:
    """Give the run a checkpoint that is worse than 210 for one speaker and better for the others, about as loud."""
    add(run, step, si_sdr_db, 1.0, -2.0)
    result = read_result(run, step)
    samples = tuple(
        replace(sample, si_sdr_db=si_sdr_db + spread, rms_estimate=rms_ratio)
        for sample, spread, rms_ratio in zip(result.samples, (2.0, -1.0, -1.0), rms_ratios, strict=False)
    )
    samples += result.samples[3:]
    write_result(run, result.model_copy(update={"samples": samples, "metrics": aggregate(samples, -2.0)}))


def test_where_two_cannot_be_told_apart_the_healthier_rms_ratio_wins(run: Run) -> None:
    # That of 210 is 1.038 for every speaker.
    add_tied(run, 205, -3.8, (1.01, 1.01, 1.02))
    assert [ranked.step for ranked in select(run, METRIC, GATES).ranking] == [205, 210, 200]
    add_tied(run, 215, -3.8, (1.11, 1.11, 1.12))
    run.validation_path(205).unlink()
    assert [ranked.step for ranked in select(run, METRIC, GATES).ranking] == [210, 215, 200]


def test_where_that_cannot_be_told_either_the_later_wins(run: Run) -> None:
    for step, order in ((205, [210, 205, 200]), (215, [215, 210, 200])):
        add_tied(run, step, -3.8, (0.95, 1.01, 1.06))
        selection = select(run, METRIC, GATES)
        assert [ranked.step for ranked in selection.ranking] == order
        behind = selection.ranking[1].behind_best
        assert behind and behind.verdict is Verdict.NEITHER
        run.validation_path(step).unlink()


def test_both_that_are_chosen_between_are_whole(run: Run) -> None:
    add_tied(run, 215, -3.8, (0.95, 1.01, 1.06))
    path = run.checkpoint_path(215)
    path.write_bytes(path.read_bytes()[:-1])
    assert [ranked.step for ranked in select(run, METRIC, GATES).ranking] == [210, 200]


def test_a_metric_that_is_not_a_number_never_ranks(run: Run) -> None:
    add(run, 240, float("nan"), 1.0, float("nan"))
    selection = select(run, METRIC, GATES)
    assert selection.best.step == 210
    assert selection.lowest_val_loss_step == 220
    assert {item.step: item.reason for item in selection.excluded}[240] == "tp_si_sdr is not finite"


def test_if_none_meets_the_bounds_the_message_says_why(run: Run) -> None:
    with pytest.raises(HifitseError, match="step 220: rms_ratio 0.746 is below 2"):
        select(run, METRIC, [Bound.parse("rms_ratio>=2")])
    assert not run.best_path.exists()


@pytest.mark.parametrize("text", ["rms_ratio", "rms_ratio=1", "rms_ratio>=high", "loudness>=1"])
def test_a_wrong_requirement_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        Bound.parse(text)


def test_a_best_that_was_chosen_by_looser_bounds_does_not_outlive_a_refusal(run: Run) -> None:
    assert choose(run, METRIC, []).best.step == 220
    with pytest.raises(HifitseError, match="step 220, which was best so far, is not any more"):
        choose(run, METRIC, [Bound.parse("rms_ratio>=2")])
    with pytest.raises(UsageError, match="no best checkpoint chosen yet"):
        CheckpointRef("best").path(run)
