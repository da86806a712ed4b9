"""hifitse extract: get a voice out of a recording."""

from pathlib import Path
from typing import Annotated

import typer

from hifitse.commands.options import (
    ConfigOption,
    DeviceOption,
    JsonOption,
    RunOption,
    SetOption,
    load_checkpoint,
    resolve,
)
from hifitse.commands.resume import FromOption
from hifitse.console import out, print_json, say
from hifitse.errors import UsageError


def extract(
    mixture: Annotated[Path, typer.Argument(metavar="MIXTURE", help="Recording of several voices; any rate.")],
    reference: Annotated[Path, typer.Argument(metavar="REFERENCE", help="Recording of the wanted speaker alone.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="OUT", help="Where to write, a .wav file (32-bit float).")
    ],
    target: Annotated[
        Path | None, typer.Option("--target", metavar="CLEAN", help="The true voice, if known: prints the SI-SDR.")
    ] = None,
    source: FromOption = "best",
    config: ConfigOption = None,
    run: RunOption = None,
    overrides: SetOption = None,
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """Extract the reference speaker's voice from a mixture, with the averaged weights of a checkpoint."""
    if output.suffix.lower() != ".wav":
        raise UsageError(f"--output {output}: must end in .wav (32-bit float, which keeps any level)")
    if not output.parent.is_dir():
        raise UsageError(f"--output {output}: there is no folder {output.parent}; make it first")
    _, found = resolve(config, run, overrides)
    from hifitse.experiment import pick_device
    from hifitse.extraction import extract_file

    checkpoint = load_checkpoint(found, source)
    report = extract_file(checkpoint, pick_device(device), mixture, reference, output, target)
    if json:
        print_json({"run": found.name, "step": checkpoint.header.step, "output": str(output), **report})
        return
    say(f"extracted with step {checkpoint.header.step} of {found.path}")
    out.print(f"wrote {output}", soft_wrap=True)
    for name, value in report.items():
        out.print(f"  {name:15} {value:7.2f}")
