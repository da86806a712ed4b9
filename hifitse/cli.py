"""The command line: names to modules, each loaded when its command is called, so that --help is fast."""

import importlib
import os
import sys
import time
from typing import Any, NoReturn

import typer
from typer.core import TyperCommand

from hifitse import console
from hifitse.commands._help import Group
from hifitse.distributed.signals import ending_in_order
from hifitse.errors import HifitseError, Interrupted

_MAIN_RANK_SECONDS = 3
"""How long another rank waits with its complaint."""

COMMANDS = {
    "init": "Write a commented configuration to start from.",
    "smoke": "Check a configuration, or a resume, in a few steps before GPU weeks are spent on it.",
    "train": "Start a new run: train through all phases, validate, save checkpoints.",
    "resume": "Continue a run from its newest checkpoint or from an older one.",
    "validate": "Measure a checkpoint on the fixed validation scenes.",
    "select-best": "Rank the validated checkpoints of a run and point `best` at the winner.",
    "extract": "Extract the reference speaker's voice from a mixture.",
    "export": "Write a model into one file, for use on any machine.",
    "import": "Start a run from a checkpoint of the original HiFi-TSE script.",
    "runs": "List the runs, pin their checkpoints, restore archived branches.",
    "data": "Count, listen to and convert what the model hears.",
    "config": "Show the configuration, or its JSON Schema.",
}
"""Name and first line of the help of every command; a test compares the line with the module's own."""
_MODULES = {"import": "import_checkpoint"}
"""Where the name of the module is not that of the command."""


class _LazyGroup(Group):
    """Knows names and first lines of help; the module of a command is imported when the command is called."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = {name: TyperCommand(name, help=line) for name, line in COMMANDS.items()}

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, _, rest = super().resolve_command(ctx, args)
        return name, load_command(str(name)), rest


def load_command(name: str) -> Any:
    """Return the command or group of that name, from its module."""
    module = importlib.import_module(f"hifitse.commands.{_MODULES.get(name, name.replace('-', '_'))}")
    command = typer.main.get_command(module.app)
    command.name = name
    return command


app = typer.Typer(
    cls=_LazyGroup,
    name="hifitse",
    help="Train target speaker extraction models, and keep the training honest.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from hifitse import __version__

        console.print_line(__version__)
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Print the version."),
) -> None:
    """Train target speaker extraction models, and keep the training honest."""


def main() -> None:
    """Run the command line; an error that a person can fix ends it with one line and its exit code."""
    console.begin()
    rank = int(os.environ.get("RANK", "0"))
    if rank:
        console.mute()
    try:
        with ending_in_order():
            app()
    except Interrupted as error:
        console.info(str(error))
        sys.exit(error.exit_code)
    except HifitseError as error:
        _fail(str(error), error.exit_code, rank)
    except OSError as error:
        # A folder that cannot be written, a full disk: the system's own words name it best.
        _fail(f"{error.filename or 'the file system'}: {error.strerror or error}", 1, rank)
    except KeyboardInterrupt:
        console.info("interrupted")
        sys.exit(130)


def _fail(message: str, code: int, rank: int) -> NoReturn:
    if rank:
        # What went wrong here may have gone wrong on the main rank, too: then the launcher ends this one meanwhile.
        time.sleep(_MAIN_RANK_SECONDS)
        sys.stderr.write(f"error of rank {rank}: {message}\n")
    elif message:
        console.fail(message, code)
    sys.exit(code)
