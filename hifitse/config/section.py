"""What all sections of the configuration are made of: their base, and the types of their fields."""

from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
MetricName = Literal["tp_si_sdr", "tp_si_sdri", "rms_ratio", "ta_energy_db", "ta_suppression_db", "val_loss"]
"""The metrics of the exam, see `hifitse.metrics.METRICS`."""
NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
Requirement = Annotated[str, Field(pattern=rf"^\s*(?:{'|'.join(get_args(MetricName))})\s*[<>]=\s*{NUMBER}\s*$")]
"""A bound on a metric, e.g. rms_ratio>=0.8."""
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]


def _ascending(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] > value[1]:
        raise ValueError(f"a range goes from low to high, but {value[0]} > {value[1]}")
    return value


Range = Annotated[tuple[float, float], AfterValidator(_ascending)]
NumInterferers = Annotated[tuple[Count, Count], AfterValidator(_ascending)]


class Section(BaseModel):
    """Base of every section: frozen, no unknown keys, documented fields, no silent bool-to-number."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False, validate_default=True
    )

    @model_validator(mode="before")
    @classmethod
    def _bools_are_not_numbers(cls, values: Any) -> Any:
        for key, value in values.items() if isinstance(values, dict) else ():
            field = cls.model_fields.get(key)
            if isinstance(value, bool) and field is not None and _is_number(field.annotation):
                raise ValueError(f"{key}: expected a number, not {str(value).lower()}")
        return values


def _is_number(annotation: Any) -> bool:
    """Tell whether a field may hold a number."""
    if get_origin(annotation) in (Union, UnionType):
        return any(_is_number(part) for part in get_args(annotation))
    if get_origin(annotation) is Annotated:
        return _is_number(get_args(annotation)[0])
    return annotation in (int, float)
