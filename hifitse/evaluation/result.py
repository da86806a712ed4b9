"""The result of one validation, as it is kept in the run: ``validation/step_00000200.json``."""

from dataclasses import replace
from functools import cache
from typing import Any

from pydantic import ConfigDict, Field, field_validator

from hifitse.console import warn
from hifitse.errors import RecordError
from hifitse.metrics import MAIN_METRICS, METRICS, Sample
from hifitse.runs.records import Record, Step, read_record
from hifitse.runs.run import Run
from hifitse.storage import write_sealed

_OF_TP = ("si_sdr_db", "si_sdri_db", "rms_estimate", "rms_target")
_OF_TA = ("energy_db", "suppression_db")


class ValidationResult(Record):
    """What the weights of one step achieve on the validation scenes."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    step: Step
    """Completed steps."""
    scenes_digest: str = Field(alias="exam_digest")
    """Identifies the scenes: results with different digests cannot be compared."""
    metrics: dict[str, float]
    """Of the EMA weights, which are the ones that are used."""
    model_metrics: dict[str, float] = Field(alias="raw_metrics")
    """Of the weights in training, in which a collapse shows first."""
    train_metrics: dict[str, float] | None = None
    """Of the EMA weights on scenes of training speakers; None: not measured."""
    num_new_speakers: int | None = None
    """Speakers of these scenes that training does not hear; None: not noted."""
    terms: dict[str, float]
    """Mean of each loss term over its scenes, unweighted; EMA weights."""
    samples: tuple[Sample, ...]
    """Each scene; EMA weights."""

    @field_validator("metrics", "model_metrics")
    @classmethod
    def _all_there(cls, metrics: dict[str, float]) -> dict[str, float]:
        if missing := [name for name in MAIN_METRICS if name not in metrics]:
            raise ValueError(f"no {', '.join(missing)}")
        return metrics

    @field_validator("samples")
    @classmethod
    def _all_measured(cls, samples: tuple[Sample, ...]) -> tuple[Sample, ...]:
        for sample in samples:
            for name in _OF_TP if sample.present else _OF_TA:
                if getattr(sample, name) is None:
                    raise ValueError(f"scene {sample.index} has no {name}")
        if len({sample.present for sample in samples}) < 2:
            raise ValueError("not both TP and TA scenes")
        return samples

    @property
    def scenes(self) -> tuple[str, tuple[tuple[int, bool], ...]]:
        """What two results must have in common to be compared, scene by scene."""
        return self.scenes_digest, tuple((sample.index, sample.present) for sample in self.samples)

    @property
    def has_perceptual(self) -> bool:
        return any(sample.perceptual for sample in self.samples)

    def without_perceptual(self) -> "ValidationResult":
        """Return what a validation finds that asks for no perceptual metrics."""
        return self.model_copy(
            update={
                "metrics": {name: value for name, value in self.metrics.items() if name in METRICS},
                "samples": tuple(replace(sample, perceptual=None) for sample in self.samples),
            }
        )

    @property
    def about_new_voices(self) -> str:
        """What the figures say about voices that training never heard, in words."""
        if self.num_new_speakers is None:
            return ""
        if self.num_new_speakers == 0:
            return (
                "All voices of this validation were heard in training, in other utterances: the figures say nothing "
                "about new voices, for which a model of few speakers is mostly much worse. With more speakers, "
                "data.split=speaker holds some out; hifitse evaluate measures on any others."
            )
        return (
            f"{self.num_new_speakers} voices of this validation were not heard in training: the figures are estimates "
            "for new voices in scenes like these, as far as so many can tell (hifitse validate shows the intervals)."
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "exam_digest": self.scenes_digest,
            "metrics": self.metrics,
            "raw_metrics": self.model_metrics,
            **({} if self.train_metrics is None else {"train_metrics": self.train_metrics}),
            **({} if self.num_new_speakers is None else {"num_new_speakers": self.num_new_speakers}),
            "terms": self.terms,
            "samples": [sample.to_json() for sample in self.samples],
        }


def write_result(run: Run, result: ValidationResult) -> None:
    """Keep a result in a run.

    Raises:
        OSError: the file cannot be written.
    """
    write_sealed(run.validation_path(result.step), result.to_json(), indent=None)


def read_result(run: Run, step: int) -> ValidationResult:
    """Return the result of a step.

    Raises:
        RecordError: the file cannot be read, or holds something else.
    """
    path, remedy = run.validation_path(step), f"repeat it with hifitse validate --run {run.argument} --from {step}"
    if not run.checkpoint_path(step).exists():
        remedy = "remove it, its checkpoint is gone"
    result = read_record(path, ValidationResult, remedy)
    if result.step != step:
        raise RecordError(f"{path}: damaged (it holds step {result.step}, not the step of its name); {remedy}")
    return result


def readable_results(run: Run) -> list[ValidationResult]:
    """Return the results of a run, ascending by step; those that cannot be read are left out with a warning."""
    found = []
    for step in run.validation_steps():
        try:
            found.append(read_result(run, step))
        except RecordError as error:
            _warn_once(f"left out: {error}")
    return found


def comparable_results(run: Run, scenes_digest: str, last_step: int) -> list[ValidationResult]:
    """Return the readable results on the scenes of that digest up to a step, ascending."""
    found = readable_results(run)
    return [result for result in found if result.step <= last_step and result.scenes_digest == scenes_digest]


@cache
def _warn_once(message: str) -> None:
    warn(message)
