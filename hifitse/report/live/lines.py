"""What a training says in lines: what a pipe and the log get."""

import shlex
from collections.abc import Sequence

from hifitse.console import duration, info
from hifitse.evaluation.result import ValidationResult
from hifitse.metrics import MAIN_METRICS, METRICS
from hifitse.models.build import num_parameters
from hifitse.runs.heartbeat import Heartbeat
from hifitse.training.step import TrainingSession

_SECONDS_TO_ESTIMATE = 5.0
_OF_TRAIN_SPEAKERS = ("tp_si_sdr", "tp_si_sdri", "rms_ratio", "ta_suppression_db", "rejection_rate", "confusion_rate")


class TimeLeft:
    """Estimates once, from real steps, how long the rest takes.

    The first step also pays for starting up, so it counts only if it is long, and not where it compiles the network.
    """

    def __init__(self, stop_at: int, compiles: bool) -> None:
        self.stop_at, self.compiles = stop_at, compiles
        self.num_steps = 0
        self.seconds = 0.0
        self.is_first = True
        self.is_known = False

    def step(self, step: int, seconds: float) -> str | None:
        """Take note of a step; return the estimate in words when there is one for the first time."""
        if not self.is_first or (seconds > _SECONDS_TO_ESTIMATE and not self.compiles):
            self.num_steps, self.seconds = self.num_steps + 1, self.seconds + seconds
        self.is_first = False
        if self.is_known or self.seconds < _SECONDS_TO_ESTIMATE:
            return None
        self.is_known = True
        return f"about {duration(self.remaining_seconds(step))} left ({self.seconds / self.num_steps:.3g} s a step)"

    def remaining_seconds(self, step: int) -> float:
        return (self.stop_at - step) * self.seconds / max(self.num_steps, 1)


def announce(session: TrainingSession, stop_at: int) -> None:
    """Say what is about to be trained."""
    config, state = session.experiment.config, session.state
    info(
        f"training {config.model.kind} ({num_parameters(state.model):,} parameters) on {session.experiment.device}: "
        f"{stop_at - state.step} steps of {config.train.batch_size} scenes from step {state.step}"
    )
    if config.on_event:
        info(f"each event goes to: {shlex.join(config.on_event)}")


def step_line(beat: Heartbeat) -> str:
    """Return where a training is, in a line."""
    terms = "  ".join(f"{name} {value:.3f}" for name, value in terms_of(beat.means, "terms").items())
    figures = {
        "step": f"{beat.step}/{beat.total_steps}",
        "phase": beat.phase,
        "loss": f"{shown(beat.means.get('loss'))}  ({terms})",
        **{name: shown(beat.means.get(name)) for name in ("rms_ratio", "ta_energy_db", "grad_norm")},
        "scenes/s": f"{beat.scenes_per_second:.1f} on {beat.device}",
        "waiting": f"{100 * beat.wait_share:.0f}% for data",
        "left": duration(beat.remaining_seconds or 0.0),
    }
    return "  ".join(f"{name} {value}" for name, value in figures.items())


def terms_of(means: dict[str, float], group: str) -> dict[str, float]:
    """Return the loss terms of ``terms`` or ``weighted_terms`` by name."""
    found = {name: value for name, value in means.items() if name.startswith(f"{group}.")}
    return {name.removeprefix(f"{group}."): value for name, value in found.items()}


def shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def validation_lines(result: ValidationResult) -> list[tuple[str, str]]:
    """Return what a validation measured, in lines with a title: the main metrics, what went wrong, and known voices."""
    others = [name for name in METRICS if name not in MAIN_METRICS]
    lines = [
        ("validation", _metrics_line(result.metrics, MAIN_METRICS)),
        ("went wrong", _metrics_line(result.metrics, others)),
        ("training speakers", _metrics_line(result.train_metrics or {}, _OF_TRAIN_SPEAKERS)),
    ]
    return [(what, line) for what, line in lines if line]


def _metrics_line(metrics: dict[str, float], names: Sequence[str]) -> str:
    return "  ".join(f"{name} {metrics[name]:.2f} {METRICS[name].unit}".rstrip() for name in names if name in metrics)
