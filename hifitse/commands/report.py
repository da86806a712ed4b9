"""hifitse report: what happened in runs, as one page to look at and to listen to."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hifitse.commands import _complete
from hifitse.commands._help import command, new_app
from hifitse.commands._options import DeviceOption, JsonOption
from hifitse.commands._setup import progress_bar, resolve
from hifitse.console import info, print_json, print_line
from hifitse.errors import HifitseError, UsageError
from hifitse.runs.run import Run
from hifitse.storage import write_text

if TYPE_CHECKING:
    from hifitse.config.schema import Config
    from hifitse.experiment import Experiment
    from hifitse.sweeping.standing import Standing

app = new_app()


@command(app, "hifitse report demo", "hifitse report demo trial -o compared.html")
def report(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN]...",
            help="Names under runs/ or paths, of runs or of a sweep (default: the run of the configuration here).",
            autocompletion=_complete.runs,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="The page (default: report.html in the first run)."),
    ] = None,
    figures: Annotated[
        Path | None, typer.Option("--figures", metavar="FOLDER", help="Write the figures there, too, as SVG and PNG.")
    ] = None,
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """Write one HTML page of what happened in runs: curves, scenes, players, configuration.

    It opens anywhere, without a network. Of a sweep it shows the best trials, and which settings mattered. Where the
    corpora of the first run are here, telling scenes of its validation are mixed again and extracted with the chosen
    checkpoints, to be heard.
    """
    for package in ("jinja2", "matplotlib"):
        if find_spec(package) is None:
            raise UsageError(f"{package} is not installed; pip install 'hifitse[figures]'")
    standing = _standing(runs or [])
    if standing:
        runs = [str(trial.run.path) for trial in standing.shown]
    found = [resolve(None, name, None) for name in runs] if runs else [resolve(None, None, None)]
    for _, run in found:
        run.require()
    first = found[0][1]
    path = output or (standing.sweep.path if standing else first.path) / "report.html"
    if path.is_dir():
        raise UsageError(f"--output {path}: a folder; name a file in it")
    from hifitse.report.contents import gather_contents
    from hifitse.report.page import Figures, page
    from hifitse.report.players import Listening, listen

    experiment, problem = _experiment(found[0][0], device)
    corpora = [experiment.corpus if experiment else None, *[None] * (len(found) - 1)]
    contents = [gather_contents(run, config, corpus) for (config, run), corpus in zip(found, corpora, strict=True)]
    drawn = Figures.draw(contents, standing)
    if figures:
        drawn.write(figures)
    heard = contents[:1] if standing else contents
    with progress_bar() as progress:
        listening = (
            listen(
                heard,
                experiment,
                lambda done, total: progress(done, total, "scenes to listen to"),
            )
            if experiment
            else Listening(notes=[f"no audio: {problem}"])
        )
    write_text(path, page(contents, drawn, listening, standing))
    for note in listening.notes:
        info(f"note: {note}")
    if json:
        print_json(
            {
                "report": str(path),
                "runs": [run.name for _, run in found],
                "size_bytes": path.stat().st_size,
                "num_scenes_to_hear": len(listening.rows),
                "notes": listening.notes,
            }
        )
    else:
        print_line(f"{path} ({path.stat().st_size / 1e6:.1f} MB): open it in a browser")


def _standing(names: list[str]) -> "Standing | None":
    """Return where the sweep stands that is named; None: they are runs."""
    from hifitse.sweeping import is_sweep

    folders = [Run.named(name).path for name in names]
    if not any(map(is_sweep, folders)):
        return None
    if len(folders) > 1:
        raise UsageError(f"{', '.join(names)}: a sweep has a page of its own; name it alone, or name runs of it")
    if find_spec("optuna") is None:
        raise UsageError("optuna is not installed; pip install 'hifitse[sweep]'")
    from hifitse.sweeping.standing import Standing
    from hifitse.sweeping.sweep import Sweep

    standing = Standing.read(Sweep(folders[0]))
    if not standing.shown:
        raise UsageError(f"{folders[0]}: no trial of this sweep has a checkpoint yet; wait for one")
    return standing


def _experiment(config: "Config", device: str) -> "tuple[Experiment | None, str]":
    """Return what renders the scenes of the validation, or None and why it cannot."""
    from hifitse.experiment import Experiment, pick_device

    chosen = pick_device(device)
    try:
        with progress_bar() as progress:
            return Experiment.build(config, chosen, progress), ""
    except HifitseError as error:
        return None, str(error)
