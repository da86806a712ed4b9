"""What train and resume share once their session is ready."""

from collections.abc import Callable

from hifitse.config.schema import Config
from hifitse.console import info, print_json
from hifitse.errors import Interrupted, UsageError
from hifitse.evaluation.result import read_result
from hifitse.report.live.display import TrainingDisplay
from hifitse.runs.events import EventLog
from hifitse.runs.run import Run
from hifitse.training.loop import train_run
from hifitse.training.step import TrainingSession


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
    session: TrainingSession, run: Run, stop: int, json: bool, prepare: Callable[[EventLog], None]
) -> None:
    """Train until ``stop`` completed steps, on display, and say where the run stands."""
    try:
        train_run(session, run, TrainingDisplay(session, run, stop), stop, prepare)
    except Interrupted as interrupted:
        message = f"{interrupted}; go on with: hifitse resume --run {run.argument}"
        raise Interrupted(message, interrupted.signal_number) from None
    step, total = session.state.step, session.experiment.config.train.total_steps
    info(f"done: step {step} of {total}, {run.checkpoint_path(step)}")
    if json:
        print_state(run, step)


def print_state(run: Run, step: int) -> None:
    """Print where a run stands, as JSON: its step, and its metrics if that step was validated."""
    metrics = read_result(run, step).metrics if run.validation_path(step).exists() else {}
    print_json({"run": run.name, "step": step, "metrics": metrics})
