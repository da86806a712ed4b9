"""hifitse watch: see how a training goes, from its files."""

import time
from typing import Annotated

import typer

from hifitse.commands import _complete
from hifitse.commands._help import command, new_app
from hifitse.commands._options import JsonOption
from hifitse.console import out, print_json, print_line
from hifitse.runs.run import Run

app = new_app()

_SECONDS = 2.0
"""Between two looks."""


@command(app, "hifitse watch demo", "hifitse watch /shared/runs/demo --json")
def watch(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="Name under runs/, or a path.", autocompletion=_complete.runs)
    ],
    json: JsonOption = False,
) -> None:
    """Show how a training goes that runs elsewhere, until it ends; in a pipe, once. Changes nothing."""
    found = Run.named(run)
    if not found.config_path.exists():
        found.require()
    from rich.live import Live

    from hifitse.report.live.watch import Watched, to_json

    watched = Watched(found)
    view = watched.view()
    if json:
        return print_json(to_json(view))
    if not out.is_terminal:
        return out.print(view)
    with Live(view, console=out, auto_refresh=False) as live:
        while True:
            for event in watched.news():
                print_line(f"{event.get('time')}  {event.get('message')}")
            live.update(view, refresh=True)
            if view.state != "training":
                break
            time.sleep(_SECONDS)
            view = watched.view()
