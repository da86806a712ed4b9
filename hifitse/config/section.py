"""What all sections of the configuration are made of: their base, and the types of their fields."""

from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from hifitse.storage import is_text

MAX_STEP = 99_999_999
"""The names of checkpoints have eight digits."""

# Every number has an upper bound: what lies above it is a slip, and would hang, or fill the memory, at some later time.
Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, le=1e6)]
NonNegative = Annotated[float, Field(ge=0, le=1e6)]
Seconds = Annotated[float, Field(gt=0, le=600)]
Decibels = Annotated[float, Field(ge=-120, le=120)]
"""Of 24 bits, the quietest sound is 120 dB and more below the loudest."""
Count = Annotated[int, Field(ge=1, le=10_000)]
Size = Annotated[int, Field(ge=1, le=4096)]
"""Of a part of the network."""
Step = Annotated[int, Field(ge=0, le=MAX_STEP)]
Steps = Annotated[int, Field(ge=1, le=MAX_STEP)]
MetricName = Literal[
    "tp_si_sdr",
    "tp_si_sdri",
    "rms_ratio",
    "ta_energy_db",
    "ta_suppression_db",
    "val_loss",
    "rejection_rate",
    "confusion_rate",
    "failure_rate",
    "false_extraction_rate",
    "presence_eer",
]
"""The metrics of a validation, see `hifitse.metrics.METRICS`."""
NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
Requirement = Annotated[
    str, Field(pattern=rf"^\s*(?:{'|'.join(get_args(MetricName))})\s*[<>]=\s*{NUMBER}\s*$", max_length=100)
]
"""A bound on a metric, e.g. rms_ratio>=0.8."""


def _written(text: str) -> str:
    if not is_text(text):
        raise ValueError("holds a NUL or half a character; write plain text")
    return text


Text = Annotated[str, AfterValidator(_written)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=100)]


def ascending(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] > value[1]:
        raise ValueError(f"a range goes from low to high, but {value[0]} > {value[1]}")
    return value


DecibelRange = Annotated[tuple[Decibels, Decibels], AfterValidator(ascending)]


class Section(BaseModel):
    """Base of every section: frozen, no unknown keys, documented fields, no silent bool-to-number."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False, validate_default=True
    )

    @model_validator(mode="before")
    @classmethod
    def _as_people_write(cls, values: Any) -> Any:
        """A single value may stand for a list of one; a bool is no number."""
        if not isinstance(values, dict):
            return values
        values = dict(values)
        for key, value in values.items():
            if (field := cls.model_fields.get(key)) is None:
                continue
            if isinstance(value, bool) and _is_number(field.annotation):
                raise ValueError(f"{key}: expected a number, not {str(value).lower()}")
            if not isinstance(value, list | tuple) and _is_open_list(field.annotation):
                values[key] = () if value is None else (value,)
        return values


def _is_number(annotation: Any) -> bool:
    """Tell whether a field may hold a number."""
    if get_origin(annotation) in (Union, UnionType):
        return any(_is_number(part) for part in get_args(annotation))
    if get_origin(annotation) is Annotated:
        return _is_number(get_args(annotation)[0])
    return annotation in (int, float)


def _is_open_list(annotation: Any) -> bool:
    """Tell whether a field holds a list of any length, and nothing else."""
    return get_origin(annotation) is tuple and get_args(annotation)[-1:] == (...,)
