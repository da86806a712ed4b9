"""hifitse train: start a new run."""

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from hifitse.commands._audit import UnsafeOption, require_sound_objective
from hifitse.commands._options import (
    ConfigOption,
    DeviceOption,
    JsonOption,
    RanksOption,
    RunOption,
    SetOption,
    announce,
    build_experiment,
    resolve,
)
from hifitse.config.schema import Config
from hifitse.console import print_json, say
from hifitse.distributed.launch import launch_ranks
from hifitse.errors import UsageError

if TYPE_CHECKING:
    from hifitse.experiment import Experiment
    from hifitse.runs.run import Run
    from hifitse.training.state import TrainState

StopAtOption = Annotated[
    int | None, typer.Option("--stop-at", metavar="STEP", help="End there, state saved, the schedule untouched.")
]


def train(
    config: ConfigOption = None,
    run: RunOption = None,
    overrides: SetOption = None,
    stop_at: StopAtOption = None,
    allow_unsafe_objective: UnsafeOption = False,
    device: DeviceOption = "auto",
    ranks: RanksOption = 1,
    json: JsonOption = False,
) -> None:
    """Start a new run: train through all phases, validate, save checkpoints."""
    settings, target = resolve(config, run, overrides)
    stop = stop_step(settings, 0, stop_at)
    target.require_new()
    if launch_ranks(ranks):
        return
    from hifitse.runs.branches import set_aside_after
    from hifitse.training.state import new_state

    experiment = build_experiment(settings, device)
    state = new_state(settings, experiment.device)
    require_sound_objective(experiment, state.model, allow_unsafe_objective)

    def prepare() -> None:
        target.require_new()
        set_aside_after(target, 0)
        # Of a fork that was killed before it began.
        target.origin_path.unlink(missing_ok=True)
        target.write_config(settings)

    run_training(state, experiment, target, stop, json, prepare)


def stop_step(config: Config, first_step: int, stop_at: int | None) -> int:
    """Return the step at which a training that starts at ``first_step`` ends.

    Raises:
        UsageError: ``--stop-at`` is not ahead, or behind the end.
    """
    total = config.train.total_steps
    if stop_at is not None and not first_step < stop_at <= total:
        raise UsageError(f"--stop-at {stop_at}: the run is at step {first_step} and ends at train.total_steps {total}")
    return total if stop_at is None else stop_at


def run_training(
    state: "TrainState",
    experiment: "Experiment",
    run: "Run",
    stop: int,
    json: bool,
    prepare: Callable[[], None],
) -> None:
    """Train a state until ``stop`` completed steps, on display, holding the run's lock.

    Args:
        prepare: makes the run ready to be trained; called with the lock held. Like the lock, it is the main rank's.
    """
    from hifitse.distributed.signals import Interrupts
    from hifitse.report.live import TrainingDisplay
    from hifitse.training.loop import train as train_loop

    ranks = experiment.ranks
    with contextlib.ExitStack() as stack:
        if ranks.is_main:
            stack.enter_context(run.lock())
        # Until here every rank has only read.
        ranks.wait()
        ranks.on_main(prepare)
        announce(experiment, state, stop - state.step)
        interrupts = stack.enter_context(Interrupts())
        display = stack.enter_context(TrainingDisplay(experiment.config, str(experiment.device), stop))
        state = train_loop(state, experiment, run, display, interrupts, stop)
    say(f"done: step {state.step} of {experiment.config.train.total_steps}, {run.checkpoint_path(state.step)}")
    if json:
        print_state(run, state.step)


def print_state(run: "Run", step: int) -> None:
    """Print where a run stands, as JSON: its step, and its metrics if that step was validated."""
    metrics = run.read_exam(step)["metrics"] if run.exam_path(step).exists() else {}
    print_json({"run": run.name, "step": step, "metrics": metrics})
