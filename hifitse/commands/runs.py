"""hifitse runs: list the runs, pin checkpoints, put an abandoned line back."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from hifitse.commands._options import JsonOption, run_path
from hifitse.console import print_json, say
from hifitse.errors import UsageError

if TYPE_CHECKING:
    from hifitse.runs.run import Run


class _Runs(TyperGroup):
    """Takes `hifitse runs FOLDER` for `hifitse runs list FOLDER`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or args[0] not in (*self.commands, *ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_Runs,
    help="List the runs (the default), keep their checkpoints, put an abandoned line back.",
    no_args_is_help=False,
)

RequiredRunOption = Annotated[str, typer.Option("--run", "-r", metavar="RUN", help="Name under runs/, or a path.")]
CheckpointOption = Annotated[str, typer.Option("--from", metavar="STEP|best", help="The checkpoint: a step, or best.")]


@app.command("list")
def list_runs(
    folder: Annotated[Path, typer.Argument(metavar="[FOLDER]", help="Where to look, at any depth.")] = Path("runs"),
    json: JsonOption = False,
) -> None:
    """List the runs, forks under their origin: state, step, best checkpoint, size."""
    from hifitse.commands._runs_table import print_runs
    from hifitse.runs.summary import find_runs, summarize
    from hifitse.runs.tree import forest

    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder; name the one that holds your runs")
    members = forest([summarize(path) for path in find_runs(folder)])
    if json:
        print_json([{**m.summary.to_json(), "parent": m.parent and str(m.parent)} for m in members])
    elif members:
        print_runs(members, folder)
    else:
        say(f"{folder}: no runs here; hifitse train starts one")


@app.command("pin")
def pin(
    run: RequiredRunOption,
    source: CheckpointOption,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why it is kept.")] = "",
) -> None:
    """Keep a checkpoint from retention."""
    from hifitse.runs import pins

    found, step = _checkpoint(run, source)
    pins.pin(found, step, reason)
    say(f"{found.path}: step {step} is pinned; retention never deletes it")


@app.command("unpin")
def unpin(run: RequiredRunOption, source: CheckpointOption) -> None:
    """Take a pin away; retention decides from its next checkpoint on."""
    from hifitse.runs import pins

    # A pin may outlive its checkpoint, where a line was abandoned.
    found, step = (_run(run), int(source)) if source.isdecimal() else _checkpoint(run, source)
    pins.unpin(found, step)
    say(f"{found.path}: step {step} is not pinned any more")


@app.command("restore")
def restore(
    run: RequiredRunOption,
    number: Annotated[str, typer.Argument(metavar="NN", help="Number of the abandoned line, as in abandoned/NN.")],
) -> None:
    """Put an abandoned line back; what is there now is set aside in turn, nothing is deleted."""
    from hifitse.runs import branches as lines
    from hifitse.runs.events import Events

    found = _run(run)
    with found.lock():
        done = lines.restore(found, number)
        message = (
            f"abandoned/{done.number} is back, up to step {done.last_step}; what was there after step "
            f"{done.after_step} is in abandoned/{done.aside}"
        )
        details = {"number": done.number, "after_step": done.after_step, "aside": done.aside}
        Events(found, say).add("restored", done.last_step, message, **details)
    say(f"undo it with: hifitse runs restore --run {found.argument} {done.aside}")


def _run(name: str) -> "Run":
    from hifitse.runs.run import Run

    found = Run(run_path(name))
    if not found.path.is_dir():
        raise UsageError(f"{found.path}: no such run; hifitse runs lists those there are")
    return found


def _checkpoint(run: str, source: str) -> "tuple[Run, int]":
    """Return the run, and the step of its checkpoint that ``--from`` names."""
    found = _run(run)
    path = found.find(source)
    for step in found.checkpoint_steps():
        if found.checkpoint_path(step) == path:
            return found, step
    raise UsageError(f"--from {source}: not a checkpoint of {found.path}")
