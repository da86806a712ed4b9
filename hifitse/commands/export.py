"""hifitse export: write the trained model for use elsewhere."""

from pathlib import Path
from typing import Annotated

import typer

from hifitse.commands._help import command, new_app
from hifitse.commands._options import ConfigOption, FromOption, JsonOption, RunOption, SetOption
from hifitse.commands._setup import load_from, resolve
from hifitse.console import info, print_json, print_line
from hifitse.errors import UsageError

app = new_app()


@command(
    app, "hifitse export --run demo -o model.safetensors", "hifitse export --run demo --from 200000 -o m.safetensors"
)
def export(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT", help="Where to write, a .safetensors file.")],
    half: Annotated[bool, typer.Option("--half", help="Weights as float16: half the size, rounded.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite OUT.")] = False,
    source: FromOption = "best",
    config: ConfigOption = None,
    run: RunOption = None,
    overrides: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Write a model into one file, for use on any machine.

    It holds a checkpoint's EMA weights; extract --model takes it.
    """
    if output.suffix != ".safetensors":
        raise UsageError(f"--output {output}: must end in .safetensors")
    if output.is_dir():
        raise UsageError(f"--output {output}: a folder; name a file in it")
    if not output.parent.is_dir():
        raise UsageError(f"--output {output}: there is no folder {output.parent}; make it first")
    if output.exists() and not force:
        raise UsageError(f"--output {output}: exists; add --force to overwrite it, or give another name")
    _, found = resolve(config, run, overrides)
    from hifitse.checkpoint.export import export_model

    checkpoint = load_from(found, source)
    step, digest = checkpoint.header.step, export_model(checkpoint, output, half=half)
    if json:
        print_json({"run": found.name, "step": step, "output": str(output), "digest": digest})
        return
    info(f"exported step {step} of {found.path}")
    print_line(f"wrote {output}")
