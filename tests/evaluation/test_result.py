"""Validation results: to the disk with the keys of old, and back as they were."""

import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hifitse.errors import RecordError
from hifitse.evaluation.result import ValidationResult, comparable_results, read_result, write_result
from hifitse.metrics import METRICS, Sample
from hifitse.runs.run import Run
from hifitse.storage import write_json, write_text

METRIC_VALUES = {name: 2 / 3 for name in METRICS}
SAMPLES = (
    Sample(0, True, si_sdr_db=0.1 + 0.2, si_sdri_db=-1e-17, rms_estimate=0.5, rms_target=1 / 3),
    Sample(1, False, energy_db=-40.0, suppression_db=20.0),
)


def result(step: int, digest: str = "scenes", **metrics: float) -> ValidationResult:
    return ValidationResult(
        step=step,
        scenes_digest=digest,
        metrics={**METRIC_VALUES, **metrics},
        model_metrics=METRIC_VALUES,
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
    assert list(data) == ["step", "exam_digest", "metrics", "raw_metrics", "terms", "samples", "checksum"]
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
    assert message.endswith("; remove it, its checkpoint is gone")
    write_text(run.checkpoint_path(4), "")
    with pytest.raises(RecordError, match=f"; repeat it with hifitse validate --run {run.path} --from 4$"):
        read_result(run, 4)


def test_of_many_flipped_bits_none_makes_another_result(run: Run) -> None:
    write_result(run, result(4))
    path, rng = run.validation_path(4), random.Random(0)
    whole, unread = path.read_bytes(), 0
    for _ in range(400):
        damaged = bytearray(whole)
        damaged[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        try:
            assert read_result(run, 4) == result(4)
        except RecordError:
            unread += 1
    assert unread > 380


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda data: data["samples"][0].pop("si_sdr_db"), "samples: .*scene 0 has no si_sdr_db"),
        (lambda data: data["samples"].pop(), "not both TP and TA scenes"),
        (lambda data: data["metrics"].pop("rms_ratio"), "metrics: .*no rms_ratio"),
        (lambda data: data["metrics"].update(rms_ratio="x"), "metrics: rms_ratio: "),
        (lambda data: data.update(step=8), "holds step 8, not the step of its name"),
        (lambda data: data.update(more=1), "more: "),
    ],
)
def test_an_older_result_is_read_without_a_checksum_but_not_without_its_parts(
    run: Run, damage: Callable[[dict[str, Any]], object], said: str
) -> None:
    data = result(4).to_json()
    write_json(run.validation_path(4), data)
    assert read_result(run, 4) == result(4)
    damage(data)
    write_json(run.validation_path(4), data)
    with pytest.raises(RecordError, match=said):
        read_result(run, 4)


def test_only_those_of_the_same_scenes_up_to_a_step_compare(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    for step, digest in ((2, "scenes"), (4, "others"), (6, "scenes"), (8, "scenes"), (10, "scenes")):
        write_result(run, result(step, digest))
    run.validation_path(6).write_text("{torn")
    assert [found.step for found in comparable_results(run, "scenes", 8)] == [2, 8]
    told = capsys.readouterr().err
    assert told.startswith(f"warning: left out: {run.validation_path(6)}: unreadable (") and told.count("\n") == 1
    comparable_results(run, "scenes", 8)
    assert capsys.readouterr().err == "", "reported once"
