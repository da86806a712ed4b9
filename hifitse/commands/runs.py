"""hifitse runs: list the runs, pin checkpoints, restore archived branches."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hifitse.commands._help import Group, command, new_app
from hifitse.commands._options import JsonOption, RequiredRunOption
from hifitse.console import info, print_json
from hifitse.errors import UsageError
from hifitse.runs.checkpoint_ref import CheckpointRef
from hifitse.runs.run import RUNS, Run, find_runs

if TYPE_CHECKING:
    from hifitse.runs.restore import Restored


class _Runs(Group):
    """Takes `hifitse runs FOLDER` for `hifitse runs list FOLDER`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or args[0] not in (*self.commands, *ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)


app = new_app("List the runs, pin their checkpoints, restore archived branches.", cls=_Runs)

CheckpointOption = Annotated[str, typer.Option("--from", metavar="CHECKPOINT", help="The checkpoint: a step, or best.")]


@command(app, "hifitse runs", "hifitse runs list /experiments --json", name="list")
def list_runs(
    folder: Annotated[Path, typer.Argument(metavar="[FOLDER]", help="Where to look, at any depth.")] = RUNS,
    json: JsonOption = False,
) -> None:
    """List the runs, forks under their origin: state, step, best checkpoint, size."""
    from hifitse.commands._runs_table import print_runs
    from hifitse.runs.summary import summarize
    from hifitse.runs.tree import forest

    if not folder.is_dir() and folder != RUNS:
        raise UsageError(f"{folder.absolute()}: no such folder; name the one that holds your runs")
    members = forest([summarize(path) for path in find_runs(folder)])
    if json:
        print_json([{**m.summary.to_json(), "parent": m.parent and str(m.parent)} for m in members])
    elif members:
        print_runs(members, folder)
    else:
        info(f"{folder.absolute()}: no runs here; hifitse train starts one")


@command(app, "hifitse runs pin --run demo --from 200000 --reason 'the one in the paper'")
def pin(
    run: RequiredRunOption,
    source: CheckpointOption,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why it is kept.")] = "",
    json: JsonOption = False,
) -> None:
    """Keep a checkpoint from retention."""
    from hifitse.runs import records

    found, step = _checkpoint(run, source)
    records.pin(found, step, reason)
    _say_pins(found, f"step {step} is pinned; retention never deletes it", json)


@command(app, "hifitse runs unpin --run demo --from 200000")
def unpin(run: RequiredRunOption, source: CheckpointOption, json: JsonOption = False) -> None:
    """Take a pin away; retention decides from its next checkpoint on."""
    from hifitse.runs import records

    # A pin may outlive its checkpoint, where a branch was archived.
    ref = CheckpointRef(source)
    found, step = (_run(run), ref.step) if ref.step is not None else _checkpoint(run, source)
    records.unpin(found, step)
    _say_pins(found, f"step {step} is not pinned any more", json)


@command(app, "hifitse runs restore --run demo 01")
def restore(
    run: RequiredRunOption,
    number: Annotated[str, typer.Argument(metavar="NN", help="Number of the archived branch, as in abandoned/NN.")],
    json: JsonOption = False,
) -> None:
    """Restore an archived branch; what is there now is archived in turn, nothing is deleted."""
    from hifitse.runs.events import EventLog
    from hifitse.runs.restore import find_branch
    from hifitse.runs.restore import restore as restore_branch

    found = _run(run)
    find_branch(found, number)

    def tell(done: "Restored") -> None:
        message = (
            f"abandoned/{done.number} is back, up to step {done.last_step}; what was there after step "
            f"{done.after_step} is in abandoned/{done.aside}"
        )
        EventLog(found, info).report("restored", done.last_step, message, **_details(done))

    with found.lock():
        found.remove_leftovers()
        done = restore_branch(found, number, tell)
    info(f"undo it with: hifitse runs restore --run {found.argument} {done.aside}")
    if json:
        print_json({"run": found.name, "last_step": done.last_step, **_details(done)})


def _details(done: "Restored") -> dict[str, str | int]:
    return {"number": done.number, "after_step": done.after_step, "aside": done.aside}


def _say_pins(run: Run, message: str, json: bool) -> None:
    from hifitse.runs.records import read_pins

    info(f"{run.path}: {message}")
    if json:
        print_json({"run": run.name, "pins": {step: pin.model_dump() for step, pin in read_pins(run).items()}})


def _run(name: str) -> Run:
    found = Run.named(name)
    if not found.path.is_dir():
        found.require()
    return found


def _checkpoint(run: str, source: str) -> tuple[Run, int]:
    """Return the run, and the step of its checkpoint that ``--from`` names."""
    found = _run(run)
    path = CheckpointRef(source).path(found)
    for step in found.checkpoint_steps():
        if found.checkpoint_path(step) == path:
            return found, step
    raise UsageError(f"--from {source}: not a checkpoint of {found.path}")
