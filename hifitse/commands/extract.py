"""hifitse extract: get a voice out of a recording."""

from pathlib import Path
from typing import Annotated

import typer

from hifitse.commands._options import (
    ConfigOption,
    DeviceOption,
    JsonOption,
    RunOption,
    SetOption,
    load_checkpoint,
    resolve,
)
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
    model: Annotated[
        Path | None, typer.Option("--model", metavar="FILE", help="An exported model, instead of a run's checkpoint.")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option("--from", metavar="STEP|last|best|FILE", help="The checkpoint of the run (default: best)."),
    ] = None,
    config: ConfigOption = None,
    run: RunOption = None,
    overrides: SetOption = None,
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """Extract the reference speaker's voice from a mixture, with the averaged weights of a checkpoint or a model."""
    if output.suffix.lower() != ".wav":
        raise UsageError(f"--output {output}: must end in .wav (32-bit float, which keeps any level)")
    if not output.parent.is_dir():
        raise UsageError(f"--output {output}: there is no folder {output.parent}; make it first")
    for given in (mixture, reference, target):
        if given is not None and output.exists() and given.exists() and output.samefile(given):
            raise UsageError(f"--output {output}: is {given}, which would be overwritten; give another name")
    if model is not None and (source or config or run or overrides):
        raise UsageError("--model brings all it needs; leave out --run, --from, --config and --set")
    from hifitse.checkpoint import export as exporting
    from hifitse.experiment import pick_device
    from hifitse.inference import extract_file

    if model is not None:
        kind, name, trained = "model", str(model), exporting.load(model)
    else:
        _, found = resolve(config, run, overrides)
        kind, name = "run", found.name
        trained = exporting.from_checkpoint(load_checkpoint(found, source or "best"))
    report = extract_file(trained, pick_device(device), mixture, reference, output, target)
    if json:
        print_json({kind: name, "step": trained.step, "output": str(output), **report})
        return
    say(f"extracted with step {trained.step} of {kind} {name}")
    out.print(f"wrote {output}", soft_wrap=True)
    for name, value in report.items():
        out.print(f"  {name:15} {value:7.2f}")
