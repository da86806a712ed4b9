"""hifitse export: write the trained model for use elsewhere."""

from pathlib import Path
from typing import Annotated

import typer

from hifitse.commands._options import ConfigOption, JsonOption, RunOption, SetOption, load_checkpoint, resolve
from hifitse.commands.resume import FromOption
from hifitse.console import out, print_json, say
from hifitse.errors import UsageError


def export(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT", help="Where to write, a .safetensors file.")],
    force: Annotated[bool, typer.Option("--force", help="Overwrite OUT.")] = False,
    source: FromOption = "best",
    config: ConfigOption = None,
    run: RunOption = None,
    overrides: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Write a checkpoint's averaged weights into one file, for `extract --model` on any machine."""
    if output.suffix != ".safetensors":
        raise UsageError(f"--output {output}: must end in .safetensors")
    if not output.parent.is_dir():
        raise UsageError(f"--output {output}: there is no folder {output.parent}; make it first")
    if output.exists() and not force:
        raise UsageError(f"--output {output}: exists; add --force to overwrite it, or give another name")
    _, found = resolve(config, run, overrides)
    from hifitse.checkpoint import export as exporting

    checkpoint = load_checkpoint(found, source)
    step, digest = checkpoint.header.step, exporting.export(checkpoint, output)
    if json:
        print_json({"run": found.name, "step": step, "output": str(output), "digest": digest})
        return
    say(f"exported step {step} of {found.path}")
    out.print(f"wrote {output}", soft_wrap=True)
