"""The Typer app: command names to modules. Imports no torch, so that --help is fast."""

import sys

import typer

from hifitse import __version__
from hifitse.commands import config, data, extract, resume, runs, select_best, smoke, train, validate
from hifitse.console import out, say
from hifitse.errors import HifitseError, Interrupted

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
    try:
        app()
    except Interrupted as error:
        say(str(error))
        sys.exit(error.exit_code)
    except HifitseError as error:
        say(f"error: {error}")
        sys.exit(error.exit_code)
    except OSError as error:
        # A folder that cannot be written, a full disk: the system's own words name it best.
        say(f"error: {error.filename or 'the file system'}: {error.strerror or error}")
        sys.exit(1)
    except KeyboardInterrupt:
        say("interrupted")
        sys.exit(130)
