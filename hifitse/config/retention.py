"""Settings of retention: which checkpoints stay on the disk when newer ones come."""

from typing import Annotated

from pydantic import Field, model_validator

from hifitse.config.section import Count, Section


class RetentionConfig(Section):
    """Each budget keeps by itself; a checkpoint is deleted when none does. These always stay: the ends of phases,
    what select-best chose, pins, the newest one that the guards call healthy, and where an abandoned line began."""

    # All stay by default: a run of 100 full-size checkpoints takes 19 GB, and what was deleted never comes back.
    keep_last: Count | None = None
    """The newest valid checkpoints to keep, null: all of them. Older ones are deleted unless kept by what follows."""
    keep_every: Count | None = None
    """Of the older ones, keep the first at or after every multiple of this many steps; null: none."""
    keep_best: Annotated[int, Field(ge=0)] = 3
    """Of the older ones, keep this many of the best by selection.metric, within the bounds of select-best."""

    @model_validator(mode="after")
    def _thins_out(self) -> "RetentionConfig":
        if self.keep_every is not None and self.keep_last is None:
            raise ValueError(
                f"keep_every {self.keep_every} has no effect while all are kept; set keep_last, or remove it"
            )
        return self
