"""hifitse config: look at the configuration."""

import typer

from hifitse.commands._options import ConfigOption, JsonOption, RunOption, SetOption, resolve
from hifitse.config.files import dump_config, to_data
from hifitse.config.schema import Config
from hifitse.console import print_json

app = typer.Typer(help="Show the configuration, or its JSON Schema.", no_args_is_help=True)


@app.command("show")
def show(
    config: ConfigOption = None, run: RunOption = None, overrides: SetOption = None, json: JsonOption = False
) -> None:
    """Print the whole configuration as a command would use it."""
    settings, _ = resolve(config, run, overrides)
    if json:
        print_json(to_data(settings))
    else:
        typer.echo(dump_config(settings), nl=False)


@app.command("schema")
def schema() -> None:
    """Print a JSON Schema of the configuration, for editors that complete and check YAML."""
    print_json(Config.model_json_schema())
