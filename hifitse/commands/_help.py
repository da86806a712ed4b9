"""How commands are declared: flags without a type in their help, and examples at its end."""

from collections.abc import Callable
from typing import Any, TypeVar

import typer
from rich.markup import escape
from typer.core import TyperCommand, TyperGroup

from hifitse.console import clean

F = TypeVar("F", bound=Callable[..., Any])


class Command(TyperCommand):
    """A command in whose help a flag is ``--json``, not ``--json <bool>``."""

    def make_context(self, *arguments: Any, **settings: Any) -> Any:
        return _told(super().make_context, *arguments, **settings)

    def get_params(self, ctx: Any) -> list[Any]:
        return _without_flag_types(super().get_params(ctx))


class Group(TyperGroup):
    """The same for a group of commands."""

    def make_context(self, *arguments: Any, **settings: Any) -> Any:
        return _told(super().make_context, *arguments, **settings)

    def get_params(self, ctx: Any) -> list[Any]:
        return _without_flag_types(super().get_params(ctx))


def _told(parse: Callable[..., Any], *arguments: Any, **settings: Any) -> Any:
    """Parse; what was typed wrongly is quoted as all text is, so that it cannot steer a terminal."""
    try:
        return parse(*arguments, **settings)
    except Exception as error:
        if isinstance(message := getattr(error, "message", None), str):
            vars(error)["message"] = clean(message)
        raise


def _without_flag_types(params: list[Any]) -> list[Any]:
    for param in params:
        if getattr(param, "is_flag", False) and param.metavar is None:
            param.metavar = ""
    return params


def new_app(help: str | None = None, cls: type[TyperGroup] = Group) -> typer.Typer:
    """Return an app for the command or the commands of a module."""
    return typer.Typer(
        cls=cls,
        help=help,
        no_args_is_help=help is not None,
        add_completion=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def command(app: typer.Typer, *examples: str, name: str | None = None) -> Callable[[F], F]:
    """Declare a command; its help ends with the examples."""
    lines = "\n".join(f"  {escape(example)}" for example in examples)
    return app.command(name, cls=Command, epilog=f"[bold]Examples[/]\n{lines}")
