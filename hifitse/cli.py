"""The Typer app: command names to modules. Imports no torch, so that --help is fast."""

import sys
import time
from typing import NoReturn

import typer

from hifitse import __version__
from hifitse.commands import (
    config,
    data,
    export,
    extract,
    import_checkpoint,
    resume,
    runs,
    select_best,
    smoke,
    train,
    validate,
)
from hifitse.console import mute, out, say
from hifitse.distributed import launch as launching
from hifitse.distributed.signals import ending_in_order
from hifitse.errors import HifitseError, Interrupted

_MAIN_RANK_SECONDS = 3
"""How long another rank waits with its complaint."""

app = typer.Typer(
    name="hifitse",
    help="Train target speaker extraction models, and keep the training honest.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("train")(train.train)
app.command("resume")(resume.resume)
app.command("validate")(validate.validate)
app.command("smoke")(smoke.smoke)
app.command("select-best")(select_best.select_best)
app.command("extract")(extract.extract)
app.command("export")(export.export)
app.command("import")(import_checkpoint.import_checkpoint)
app.add_typer(config.app, name="config")
app.add_typer(data.app, name="data")
app.add_typer(runs.app, name="runs")


def _print_version(wanted: bool) -> None:
    if wanted:
        out.print(__version__)
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Print the version."),
) -> None:
    """Train target speaker extraction models, and keep the training honest."""


def main() -> None:
    """Run the command line; an error that a person can mend ends it with one line and its exit code."""
    if rank := launching.rank():
        mute()
    try:
        with ending_in_order():
            app()
    except Interrupted as error:
        say(str(error))
        sys.exit(error.exit_code)
    except HifitseError as error:
        _fail(str(error), error.exit_code, rank)
    except OSError as error:
        # A folder that cannot be written, a full disk: the system's own words name it best.
        _fail(f"{error.filename or 'the file system'}: {error.strerror or error}", 1, rank)
    except KeyboardInterrupt:
        say("interrupted")
        sys.exit(130)


def _fail(message: str, code: int, rank: int) -> NoReturn:
    if rank:
        # What went wrong here may have gone wrong on the main rank, too: then the launcher ends this one meanwhile.
        time.sleep(_MAIN_RANK_SECONDS)
        sys.stderr.write(f"error of rank {rank}: {message}\n")
    elif message:
        say(f"error: {message}")
    sys.exit(code)
