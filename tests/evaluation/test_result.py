"""Validation results: to the disk with the keys of old, and back as they were."""

import json
import math
from pathlib import Path

import pytest

from hifitse.errors import RecordError
from hifitse.evaluation.result import ValidationResult, comparable_results, read_result, write_result
from hifitse.metrics import Sample
from hifitse.runs.run import Run

SAMPLES = (
    Sample(0, True, si_sdr_db=0.1 + 0.2, si_sdri_db=-1e-17, rms_estimate=0.5, rms_target=1 / 3),
    Sample(1, False, energy_db=-40.0, suppression_db=20.0),
)


def result(step: int, digest: str = "scenes", **metrics: float) -> ValidationResult:
    return ValidationResult(
        step=step,
        scenes_digest=digest,
        metrics={"val_loss": 2 / 3, **metrics},
        model_metrics={"val_loss": 0.5},
        terms={"absent": 1.5},
        samples=SAMPLES,
    )


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "run")


def test_it_comes_back_to_the_bit(run: Run) -> None:
    write_result(run, result(4))
    assert read_result(run, 4) == result(4)
    write_result(run, read_result(run, 4))
    assert read_result(run, 4) == result(4)


def test_what_is_not_finite_comes_back_too(run: Run) -> None:
    write_result(run, result(4, tp_si_sdr=math.nan, ta_energy_db=-math.inf))
    read = read_result(run, 4)
    assert math.isnan(read.metrics["tp_si_sdr"]) and read.metrics["ta_energy_db"] == -math.inf


def test_the_file_has_the_keys_of_the_first_version(run: Run) -> None:
    write_result(run, result(4))
    data = json.loads(run.validation_path(4).read_text())
    assert list(data) == ["step", "exam_digest", "metrics", "raw_metrics", "terms", "samples"]
    assert data["samples"][1] == {"index": 1, "present": False, "energy_db": -40.0, "suppression_db": 20.0}


@pytest.mark.parametrize("content", [None, "", "[]", "{torn", '{"raw_metrics": 1}', '{"step": 4}'])
def test_one_that_cannot_be_read_is_named_with_the_remedy(run: Run, content: str | None) -> None:
    if content is not None:
        write_result(run, result(4))
        run.validation_path(4).write_text(content)
    with pytest.raises(RecordError) as caught:
        read_result(run, 4)
    message = str(caught.value)
    assert message.startswith(f"{run.validation_path(4)}: unreadable (") and "\n" not in message
    assert message.endswith(f"repeat it with hifitse validate --run {run.path} --from 4")


def test_only_those_of_the_same_scenes_up_to_a_step_compare(run: Run) -> None:
    for step, digest in ((2, "scenes"), (4, "others"), (6, "scenes"), (8, "scenes"), (10, "scenes")):
        write_result(run, result(step, digest))
    run.validation_path(6).write_text("{torn")
    assert [found.step for found in comparable_results(run, "scenes", 8)] == [2, 8]
