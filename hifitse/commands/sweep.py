"""hifitse sweep: try settings, in many trainings."""

import shlex
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hifitse.commands import _complete
from hifitse.commands._help import command, new_app
from hifitse.commands._options import DeviceOption, JsonOption
from hifitse.commands._traceback import note_run
from hifitse.console import info, print_json, urgent
from hifitse.errors import HifitseError, Interrupted, UsageError
from hifitse.runs.run import Run

if TYPE_CHECKING:
    from hifitse.sweeping.outcome import Outcome
    from hifitse.sweeping.trial import Trial

app = new_app()


@command(
    app,
    "hifitse sweep space.yaml --metric tp_si_sdri --trials 40",
    "hifitse sweep space.yaml --metric tp_si_sdri --trials 40 --device cuda:1",
)
def sweep(
    space: Annotated[
        Path, typer.Argument(metavar="SPACE.yaml", help="A configuration, settings and their values: docs/sweeps.md.")
    ],
    metric: Annotated[
        str,
        typer.Option("--metric", metavar="NAME", help="What ranks the trials.", autocompletion=_complete.metrics),
    ],
    trials: Annotated[int, typer.Option("--trials", min=1, max=10_000, metavar="N", help="Of all processes together.")],
    run: Annotated[
        str | None,
        typer.Option(
            "--run",
            "-r",
            metavar="NAME",
            help="Under runs/, or a path (default: the name of SPACE).",
        ),
    ] = None,
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """Try settings: train many runs, each with other values, and say which are best and which mattered.

    The same command joins in from other terminals and machines, and goes on with what was interrupted. Trials that are
    behind, or that a guard stops, end early; those whose checkpoints selection refuses never win.
    """
    if find_spec("optuna") is None:
        raise UsageError("optuna is not installed; pip install 'hifitse[sweep]'")
    from hifitse.commands._sweep_tables import in_words, settings_in_words, show_standing
    from hifitse.distributed.signals import Interrupts
    from hifitse.sweeping.space import Space, varied
    from hifitse.sweeping.standing import Standing
    from hifitse.sweeping.sweep import Sweep, judging_metric
    from hifitse.sweeping.worker import Worker

    wanted = Space.read(space)
    judge = judging_metric(metric, wanted)
    found = Sweep(Run.named(run if run is not None else space.stem).path)
    base = found.join(wanted, judge)
    note_run(found.path)
    info(f"sweep {found.path}: {trials} trials by {judge.name}; hifitse runs {found.path} lists them while they train")

    keys = varied(wanted.record["space"])

    def began(trial: "Trial") -> None:
        if not trial.is_new:
            info(f"trial {trial.number}: goes on, its process is gone")

    def ended(trial: "Trial", outcome: "Outcome") -> None:
        tried = [f"{settings_in_words(trial.settings, keys)}: "] if keys else []
        info(f"trial {trial.number}: {''.join(tried)}{in_words(outcome, judge)}")

    try:
        with Interrupts(urgent) as interrupts:
            Worker(found, wanted, judge, base.seed, device, interrupts).work(trials, began, ended)
    except Interrupted as interrupted:
        command = shlex.join(["hifitse", *sys.argv[1:]])
        raise Interrupted(f"interrupted; go on with: {command}", interrupted.signal_number) from None
    standing = Standing.read(found)
    if json:
        print_json(standing.to_json())
    else:
        show_standing(standing)
    if standing.best is None:
        raise HifitseError(f"{found.path}: no trial has a checkpoint that selection accepts; {standing.why_none}")
