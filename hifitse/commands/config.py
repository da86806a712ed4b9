"""hifitse config: look at the configuration."""

from hifitse.commands._help import command, new_app
from hifitse.commands._options import ConfigOption, JsonOption, RunOption, SetOption
from hifitse.commands._setup import resolve
from hifitse.config.files import dump_config, to_data
from hifitse.config.schema import Config
from hifitse.console import print_json, print_text

app = new_app("Show the configuration, or its JSON Schema.")


@command(app, "hifitse config show --config my.yaml", "hifitse config show --run demo --set loss.ta_weight=0.2")
def show(
    config: ConfigOption = None, run: RunOption = None, overrides: SetOption = None, json: JsonOption = False
) -> None:
    """Print the whole configuration as a command would use it."""
    settings, _ = resolve(config, run, overrides)
    if json:
        print_json(to_data(settings))
    else:
        print_text(dump_config(settings))


@command(app, "hifitse config schema > hifitse.schema.json")
def schema() -> None:
    """Print a JSON Schema of the configuration, for editors that complete and check YAML."""
    print_json(Config.model_json_schema())
