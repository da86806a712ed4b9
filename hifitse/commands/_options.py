"""The options that all commands share, and what they mean together."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hifitse.config.files import load_config
from hifitse.config.schema import Config
from hifitse.console import duration, err, say, warn
from hifitse.errors import UsageError

if TYPE_CHECKING:
    from hifitse.checkpoint.file import Checkpoint
    from hifitse.corpus.scan import Progress
    from hifitse.experiment import Experiment
    from hifitse.runs.run import Run
    from hifitse.training.state import TrainState

DEFAULT_CONFIG = Path("configs/hifi_tse.yaml")

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help="Configuration (default: that of --run if it exists, else configs/hifi_tse.yaml).",
    ),
]
RunOption = Annotated[
    str | None,
    typer.Option("--run", "-r", metavar="RUN", help="Name under runs/, or a path (default: the config's file name)."),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", "-s", metavar="KEY=VALUE", help="Override a config key, e.g. loss.ta_weight=0.2. Repeatable."
    ),
]
DeviceOption = Annotated[str, typer.Option("--device", metavar="DEVICE", help="auto, cpu, cuda or cuda:N.")]
RanksOption = Annotated[
    int, typer.Option("--ranks", min=1, metavar="N", help="Train in N processes, one for each GPU of this machine.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Write the result to stdout as JSON.")]


def resolve(config: Path | None, run: str | None, overrides: list[str] | None) -> tuple[Config, "Run"]:
    """Find the run and its configuration.

    A run that exists brings its own configuration; ``--config`` replaces it.
    """
    from hifitse.runs.run import Run

    path = run_path(run if run is not None else (config or DEFAULT_CONFIG).stem)
    found = Run(path)
    if config is None and not found.config_path.exists() and not DEFAULT_CONFIG.exists():
        raise UsageError(f"{path}: no such run, and there is no {DEFAULT_CONFIG} here; give --config FILE")
    if config is None:
        config = found.config_path if run is not None and found.config_path.exists() else DEFAULT_CONFIG
    return load_config(config, overrides or ()), found


def resolve_file(file: Path, overrides: list[str] | None) -> tuple[Config, "Run"]:
    """Return the configuration that a checkpoint file brings, and the run that it lies in."""
    from hifitse.checkpoint.file import load_header
    from hifitse.config.files import from_data
    from hifitse.runs.run import Run

    return from_data(load_header(file)[0].config, str(file), overrides or ()), Run(file.parent.parent)


def run_path(run: str) -> Path:
    """Return the directory that ``--run`` names: a path, or a name under runs/.

    Raises:
        UsageError: the name is empty.
    """
    if not run.strip():
        raise UsageError("--run '': empty; give a name under runs/, or a path")
    named = Path("runs") / run
    # A run that was moved here goes by its bare name, too; another folder of that name is not meant.
    is_run = run in (".", "..") or (not named.exists() and (Path(run) / "checkpoints").is_dir())
    return Path(run) if "/" in run or is_run else named


def load_checkpoint(run: "Run", source: str) -> "Checkpoint":
    """Load what ``--from`` names, and say which damaged ones were skipped on the way."""
    checkpoint, skipped = run.load(source)
    for reason in skipped:
        warn(f"skipped {reason}")
    return checkpoint


@contextmanager
def progress_bar() -> Iterator["Progress"]:
    """Yield a function of (done, in all, description), which shows a bar on a terminal."""
    from rich.progress import Progress, TaskID

    with Progress(console=err, transient=True, disable=not err.is_terminal) as bar:
        tasks: dict[str, TaskID] = {}

        def progress(done: int, total: int, description: str) -> None:
            if description not in tasks:
                tasks[description] = bar.add_task(description)
            bar.update(tasks[description], completed=done, total=total)

        yield progress


def build_experiment(config: Config, device: str) -> "Experiment":
    """Load corpus and objective, with progress and notes on stderr."""
    from hifitse.experiment import Experiment, pick_device

    with progress_bar() as progress:
        experiment = Experiment.build(config, pick_device(device), progress)
    for note in experiment.corpus.notes:
        say(f"note: {note}")
    return experiment


def announce(experiment: "Experiment", state: "TrainState", num_steps: int) -> None:
    """Say what is about to happen, and about how long it takes on this machine."""
    from hifitse.experiment import step_seconds
    from hifitse.models.build import num_parameters

    config = experiment.config
    seconds = num_steps * step_seconds(experiment, state.model)
    say(
        f"training {config.model.kind} ({num_parameters(state.model):,} parameters) on {experiment.device}: "
        f"{num_steps} steps of {config.train.batch_size} scenes from step {state.step}, "
        f"about {duration(seconds)} without validation"
    )
