"""From a step to the mixing settings of its phase. Pure: no state, no randomness, no torch."""

from dataclasses import dataclass

from hifitse.config.data import Phase
from hifitse.config.schema import Config

_UNITS = 10**9
Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class SceneSettings:
    """All that the draw of a scene depends on, besides its index and the recordings."""

    absent_ratio: float
    """Share of TA scenes."""
    num_interferers: tuple[int, int]
    level_db: Range
    sir_db: Range
    snr_db: Range
    noise_probability: float
    generated_noise: bool
    """Noise is generated where there are no recordings of noise."""
    rir_probability: float
    speeds: tuple[float, ...]
    reference_noise_probability: float
    reference_snr_db: Range
    reference_dropout: float


def phase_at(config: Config, step: int) -> Phase:
    """Return the phase that a step belongs to; ``until`` itself belongs to the next phase."""
    return next(phase for phase in config.curriculum if phase.until is None or step < phase.until)


def absent_ratio_at(config: Config, step: int) -> float:
    """Return the share of TA scenes in a training step."""
    start, before = 0, 0.0
    for phase in config.curriculum:
        if phase.until is not None and phase.until <= step:
            start, before = phase.until, phase.absent_ratio
            continue
        if step - start >= phase.absent_ramp_steps:
            return phase.absent_ratio
        return before + (phase.absent_ratio - before) * (step - start + 1) / (phase.absent_ramp_steps + 1)
    raise AssertionError("the last phase has no end")


def settings_at(config: Config, step: int) -> SceneSettings:
    """Return the mixing settings of a training step."""
    noise = config.mixing.reference_noise
    start, end = noise.ramp_start_step, noise.ramp_end_step
    ramp = 1.0 if step >= end else max(0, step - start) / (end - start) if start < end else 0.0
    phase = phase_at(config, step)
    return _settings(
        config,
        phase,
        absent_ratio=absent_ratio_at(config, step),
        speeds=config.mixing.speeds,
        reference_noise_probability=ramp * noise.probability,
        reference_dropout=config.mixing.reference_dropout,
    )


def validation_settings(config: Config) -> SceneSettings:
    """Return the settings of the validation scenes: those of the last phase, with clean references at speed 1."""
    return held_out_settings(config, config.validation.absent_ratio)


def held_out_settings(config: Config, absent_ratio: float) -> SceneSettings:
    """Return the settings of scenes that measure: validation and test differ by their share of TA scenes only."""
    return _settings(
        config,
        config.curriculum[-1],
        absent_ratio=absent_ratio,
        speeds=(1.0,),
        reference_noise_probability=0.0,
        reference_dropout=0.0,
    )


def is_absent(index: int, ratio: float) -> bool:
    """Tell whether scene `index` (0, 1, ...) is TA: a share of `ratio`, spread evenly, exact in every range."""
    return num_absent(index, index + 1, ratio) == 1


def num_absent(first: int, last: int, ratio: float) -> int:
    """Return how many of the scenes first, ..., last - 1 are TA, in exact integer arithmetic."""
    share = round(ratio * _UNITS)
    return last * share // _UNITS - first * share // _UNITS


def _settings(
    config: Config,
    phase: Phase,
    *,
    absent_ratio: float,
    speeds: tuple[float, ...],
    reference_noise_probability: float,
    reference_dropout: float,
) -> SceneSettings:
    mixing = config.mixing
    return SceneSettings(
        absent_ratio=absent_ratio,
        num_interferers=phase.num_interferers or mixing.num_interferers,
        level_db=mixing.level_db,
        sir_db=phase.sir_db or mixing.sir_db,
        snr_db=phase.snr_db or mixing.snr_db,
        noise_probability=mixing.noise_probability,
        generated_noise=config.data.generated_noise,
        rir_probability=mixing.rir_probability,
        speeds=speeds,
        reference_noise_probability=reference_noise_probability,
        reference_snr_db=mixing.reference_noise.snr_db,
        reference_dropout=reference_dropout,
    )
