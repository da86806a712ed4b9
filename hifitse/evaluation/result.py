"""The result of one validation, as it is kept in the run: ``validation/step_00000200.json``."""

import json
from typing import Any

from pydantic import ConfigDict, Field

from hifitse.errors import RecordError
from hifitse.metrics import Sample
from hifitse.runs.records import Record, read_record
from hifitse.runs.run import Run
from hifitse.storage import write_text


class ValidationResult(Record):
    """What the weights of one step achieve on the validation scenes."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    step: int
    """Completed steps."""
    scenes_digest: str = Field(alias="exam_digest")
    """Identifies the scenes: results with different digests cannot be compared."""
    metrics: dict[str, float]
    """Of the EMA weights, which are the ones that are used."""
    model_metrics: dict[str, float] = Field(alias="raw_metrics")
    """Of the weights in training, in which a collapse shows first."""
    terms: dict[str, float]
    """Mean of each loss term over its scenes, unweighted; EMA weights."""
    samples: tuple[Sample, ...]
    """Each scene; EMA weights."""

    def to_json(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "exam_digest": self.scenes_digest,
            "metrics": self.metrics,
            "raw_metrics": self.model_metrics,
            "terms": self.terms,
            "samples": [sample.to_json() for sample in self.samples],
        }


def write_result(run: Run, result: ValidationResult) -> None:
    """Keep a result in a run.

    Raises:
        OSError: the file cannot be written.
    """
    write_text(run.validation_path(result.step), json.dumps(result.to_json()))


def read_result(run: Run, step: int) -> ValidationResult:
    """Return the result of a step.

    Raises:
        RecordError: the file cannot be read.
    """
    remedy = f"repeat it with hifitse validate --run {run.argument} --from {step}"
    return read_record(run.validation_path(step), ValidationResult, remedy)


def comparable_results(run: Run, scenes_digest: str, last_step: int) -> list[ValidationResult]:
    """Return the results on the scenes of that digest up to a step, ascending; unreadable ones are left out."""
    found = []
    for step in run.validation_steps():
        try:
            result = read_result(run, step)
        except RecordError:
            continue
        if step <= last_step and result.scenes_digest == scenes_digest:
            found.append(result)
    return found
