"""Policies: what the guards call unhealthy and do about it, and which checkpoints retention keeps."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from hifitse.config.section import Count, MetricName, Name, Positive, Section, Steps

_Bound = Annotated[float, Field(ge=-1e6, le=1e6)]

Action = Literal["ignore", "warn", "stop", "rollback"]


class Guard(Section):
    """A rule on a metric of the validation. It has one bound: below, above, below_target or behind_best."""

    name: Name
    """Name of the guard, in messages and overrides: health.guards.level_low.action=warn."""
    metric: MetricName
    """The metric that is judged, of the EMA weights and of the model weights."""
    below: _Bound | None = None
    """Unhealthy below this value."""
    above: _Bound | None = None
    """Unhealthy above this value."""
    below_target: Positive | None = None
    """ta_energy_db only: unhealthy this many dB below the level that loss.absent asks for."""
    behind_best: Positive | None = None
    """Unhealthy when worse than the run's best so far by more than this."""
    patience: Count = 2
    """Unhealthy validations in a row before the guard acts; the first one is already reported."""
    phases: Literal["all", "with_ta"] = "all"
    """with_ta: judge only phases that mix TA scenes."""
    action: Action = "stop"
    """ignore; warn: only report; stop: save, explain, exit 3; rollback: return to the newest healthy checkpoint."""
    gate: bool = True
    """Whether select-best leaves out checkpoints beyond this bound, whatever the action (not for behind_best)."""

    @model_validator(mode="after")
    def _one_bound(self) -> "Guard":
        bounds = ("below", "above", "below_target", "behind_best")
        given = [name for name in bounds if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"guard {self.name}: give one of {', '.join(bounds)}, not {' and '.join(given) or 'none'}")
        if self.below_target is not None and self.metric != "ta_energy_db":
            raise ValueError(f"guard {self.name}: below_target is for ta_energy_db, {self.metric} has no target")
        if self.behind_best is not None and self.metric == "rms_ratio":
            raise ValueError(f"guard {self.name}: rms_ratio is best near 1; use below and above")
        return self


class NonFiniteGuard(Section):
    """Loss or gradient is NaN or infinite. Such a step is never taken: the weights stay as they were."""

    patience: Count = 5
    """Such steps in a row before the guard acts."""
    action: Literal["stop", "rollback"] = "stop"
    """stop: save, explain, exit 3; rollback: return to the newest healthy checkpoint."""


class SpikeGuard(Section):
    """The gradient norm is far above its running median. Such a step is not taken, unless the action is ignore."""

    factor: Annotated[float, Field(gt=1, le=1e6)] = 20.0
    """Norm over the median of the window from which a step is a spike."""
    window: Annotated[int, Field(ge=10, le=10_000)] = 200
    """Steps in the window; it judges once it is half full, and spikes enter it too: a new normal is learnt."""
    patience: Count = 10
    """Spikes in a row before the guard acts."""
    action: Action = "rollback"
    """ignore; warn: only report; stop: save, explain, exit 3; rollback: return to the newest healthy checkpoint."""


class HealthConfig(Section):
    guards: Annotated[tuple[Guard, ...], Field(max_length=100)] = (
        Guard(name="level_low", metric="rms_ratio", below=0.8, phases="with_ta"),
        Guard(name="level_high", metric="rms_ratio", above=1.25, phases="with_ta"),
        # Not unhealthy in itself: a good extractor is very quiet where its speaker is absent.
        Guard(
            name="over_suppression", metric="ta_energy_db", below_target=6, phases="with_ta", action="warn", gate=False
        ),
        Guard(name="quality_lost", metric="tp_si_sdr", behind_best=2, patience=3),
    )
    """Rules on the metrics of each validation."""
    non_finite: NonFiniteGuard = NonFiniteGuard()
    """Rule on steps whose loss or gradient is not finite."""
    spike: SpikeGuard = SpikeGuard()
    """Rule on steps whose gradient norm is far above the usual."""
    max_rollbacks: Annotated[int, Field(ge=0, le=1000)] = 3
    """Rollbacks on one branch; the next one stops the run instead."""
    rollback_learning_rate_factor: Annotated[float, Field(ge=1e-3, le=1)] = 0.5
    """By what each rollback multiplies the learning rate from then on."""

    @model_validator(mode="after")
    def _names_differ(self) -> "HealthConfig":
        names = [guard.name for guard in self.guards]
        if len(set(names)) < len(names):
            raise ValueError(f"guards: names must differ, not {names}")
        return self


class RetentionConfig(Section):
    """Each budget keeps by itself; a checkpoint is deleted when none does. These always stay: the ends of phases,
    what select-best chose, pins, the newest one that the guards call healthy, and where an archived branch began."""

    # All stay by default: a run of 100 full-size checkpoints takes 19 GB, and what was deleted never comes back.
    keep_last: Count | None = None
    """The newest valid checkpoints to keep, null: all of them. Older ones are deleted unless kept by what follows."""
    keep_every: Steps | None = None
    """Of the older ones, keep the first at or after every multiple of this many steps; null: none."""
    keep_best: Annotated[int, Field(ge=0, le=10_000)] = 3
    """Of the older ones, keep this many of the best by selection.metric, within the bounds of select-best."""

    @model_validator(mode="after")
    def _thins_out(self) -> "RetentionConfig":
        if self.keep_every is not None and self.keep_last is None:
            raise ValueError(
                f"keep_every {self.keep_every} has no effect while all are kept; set keep_last, or remove it"
            )
        return self
