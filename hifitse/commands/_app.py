"""The app of the command line: names to modules, each loaded when its command is called, so that --help is fast."""

import importlib
from typing import Any

import typer
from typer.core import TyperCommand

from hifitse.commands._help import Group
from hifitse.console import print_line

COMMANDS = {
    "init": "Write a commented configuration to start from.",
    "smoke": "Check a configuration, or a resume, in a few steps before GPU weeks are spent on it.",
    "train": "Start a new run: train through all phases, validate, save checkpoints.",
    "resume": "Continue a run from its newest checkpoint or from an older one.",
    "sweep": "Try settings: train many runs, each with other values, and say which are best and which mattered.",
    "validate": "Measure a checkpoint on the fixed validation scenes.",
    "select-best": "Rank the validated checkpoints of a run and point `best` at the winner.",
    "compare": "Say which of two models is better, metric by metric, and whether the difference is real.",
    "diagnose": "Say why a run goes wrong: the causes that its records speak for, and the remedies.",
    "report": "Write one HTML page of what happened in runs: curves, scenes, players, configuration.",
    "evaluate": "Measure a model on a test set, by the figures that papers report.",
    "extract": "Extract the reference speaker's voice from a mixture.",
    "listen": "Open a page on this machine to hear what a model makes of recordings.",
    "export": "Write a model into one file, for use on any machine.",
    "import": "Start a run from a checkpoint of the original HiFi-TSE script.",
    "watch": "Show how a training goes that runs elsewhere, until it ends; in a pipe, once.",
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

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except EOFError as error:
            # Typer takes it for the end of a prompt, and ends with "Aborted." whatever was cut short.
            raise RuntimeError(f"unexpected end of data: {error}") from error


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
        from importlib.metadata import version

        print_line(version("hifitse"))
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Print the version."),
) -> None:
    """Train target speaker extraction models, and keep the training honest."""
