"""From the shared options to a configuration, a run, a checkpoint and an experiment."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hifitse.commands._traceback import note_run
from hifitse.config.files import find_config, load_config
from hifitse.config.schema import Config
from hifitse.console import cell, err, info, warn
from hifitse.errors import UsageError
from hifitse.runs.checkpoint_ref import CheckpointRef
from hifitse.runs.run import RUNS, Run, find_runs

if TYPE_CHECKING:
    from hifitse.checkpoint.file import Checkpoint
    from hifitse.corpus.scan import Progress
    from hifitse.experiment import Experiment

_DEFAULTS = (Path("hifitse.yaml"), Path("configs/hifi_tse.yaml"))
"""Configurations that are used without --config, the first one that is there."""


def resolve(config: Path | None, run: str | None, overrides: list[str] | None) -> tuple[Config, Run]:
    """Find the run and its configuration.

    A run that exists brings its own configuration; ``--config`` replaces it.
    """
    default = next((path for path in _DEFAULTS if path.exists()), None)
    if run is None and config is None and default is None:
        here = [Run(path).argument for path in find_runs(RUNS)]
        other = f"--run names one of the runs here: {', '.join(here)}" if here else "there are no runs here either"
        raise UsageError(
            f"{Path.cwd()}: no configuration here ({' or '.join(map(str, _DEFAULTS))}); hifitse init writes one, "
            f"--config FILE names another, {other}"
        )
    if config is not None:
        config = find_config(config)
    found = Run.named(run if run is not None else (config or default or _DEFAULTS[0]).stem)
    note_run(found.path)
    if config is None and run is not None and found.config_path.exists():
        config = found.config_path
    elif config is None and run is not None and found.exists():
        last = found.checkpoint_path(found.checkpoint_steps()[-1])
        raise UsageError(
            f"{found.config_path}: is missing; name the configuration with --config FILE, or go on with the one that a "
            f"checkpoint brings: hifitse resume --from {shlex.quote(str(last))} --as NAME"
        )
    elif config is None and default is None:
        found.require()
    return load_config(find_config(config or default or _DEFAULTS[0]), overrides or ()), found


def has_default_run() -> bool:
    """Tell whether there is the run that a command means where none is named."""
    default = next((path for path in _DEFAULTS if path.exists()), None)
    return default is not None and Run.named(default.stem).exists()


def named_model(
    model: str | None, source: str | None, config: Path | None, run: str | None, overrides: list[str] | None
) -> str | None:
    """Return the exported model that ``--model`` names, ``bundled`` where nothing is named or trained, else None.

    Raises:
        UsageError: what names a run is given as well.
    """
    of_run = source or config or run or overrides
    if model is not None and of_run:
        raise UsageError("--model brings all it needs; leave out --run, --from, --config and --set")
    return model or (None if of_run or has_default_run() else "bundled")


def resolve_file(file: Path, overrides: list[str] | None) -> tuple[Config, Run]:
    """Return the configuration that a checkpoint file brings, and the run that it lies in."""
    from hifitse.checkpoint.file import load_header
    from hifitse.config.files import from_data

    return from_data(load_header(file)[0].config, str(file), overrides or ()), Run(file.parent.parent)


def load_from(run: Run, source: str) -> "Checkpoint":
    """Load what ``--from`` names, and warn of damaged checkpoints that were skipped on the way."""
    checkpoint, skipped = CheckpointRef(source).load(run)
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
                tasks[description] = bar.add_task(cell(description))
            bar.update(tasks[description], completed=done, total=total)

        yield progress


def build_experiment(config: Config, device: str) -> "Experiment":
    """Load corpus and objective, with progress and notes on stderr."""
    from hifitse.experiment import Experiment, pick_device

    with progress_bar() as progress:
        experiment = Experiment.build(config, pick_device(device), progress)
    for note in experiment.corpus.notes:
        info(f"note: {note}")
    for warning in experiment.corpus.warnings:
        warn(warning)
    return experiment
