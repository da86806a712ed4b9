"""hifitse extract: get a voice out of a recording."""

from pathlib import Path
from typing import Annotated

import typer

from hifitse.commands import _complete
from hifitse.commands._help import command, new_app
from hifitse.commands._options import ConfigOption, DeviceOption, JsonOption, RunOption, SetOption
from hifitse.commands._setup import has_default_run, load_from, resolve
from hifitse.console import info, print_json, print_line
from hifitse.errors import UsageError

app = new_app()


@command(
    app,
    "hifitse extract meeting.wav ada.wav -o ada_only.wav --run demo",
    "hifitse extract meeting.wav ada.wav -o ada_only.wav --model model.safetensors",
)
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
        str | None,
        typer.Option("--model", metavar="FILE", help="An exported model, or bundled: the one that comes with hifitse."),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="CHECKPOINT",
            help="Of the run: a step, last, best, or a file (default: best).",
            autocompletion=_complete.checkpoints,
        ),
    ] = None,
    config: ConfigOption = None,
    run: RunOption = None,
    overrides: SetOption = None,
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """Extract the reference speaker's voice from a mixture.

    With the EMA weights of a run's checkpoint, or with an exported model. If neither is named, and there is no run of
    the configuration here, with the model that comes with hifitse.
    """
    if output.suffix.lower() != ".wav":
        raise UsageError(f"--output {output}: must end in .wav (32-bit float, which keeps any level)")
    if output.is_dir():
        raise UsageError(f"--output {output}: a folder; name a file in it")
    if not output.parent.is_dir():
        raise UsageError(f"--output {output}: there is no folder {output.parent}; make it first")
    for given in (mixture, reference, target):
        if given is not None and output.exists() and given.exists() and output.samefile(given):
            raise UsageError(f"--output {output}: is {given}, which would be overwritten; give another name")
    if model is not None and (source or config or run or overrides):
        raise UsageError("--model brings all it needs; leave out --run, --from, --config and --set")
    if not (model or source or config or run or overrides or has_default_run()):
        model = "bundled"
    if model is None:
        _, found = resolve(config, run, overrides)
    from hifitse.audio.files import probe_audio

    for given in (mixture, reference, target):
        if given is not None:
            probe_audio(given)
    from hifitse.checkpoint.export import find_model, load_exported, trained_model
    from hifitse.experiment import pick_device
    from hifitse.inference import Extractor, extract_file

    if model is not None:
        kind, name, trained = "model", model, load_exported(find_model(model))
    else:
        kind, name, trained = "run", found.name, trained_model(load_from(found, source or "best"))
    report = extract_file(Extractor(trained, pick_device(device)), mixture, reference, output, target)
    if json:
        print_json({kind: name, "step": trained.step, "output": str(output), **report})
        return
    info(f"extracted with step {trained.step} of {kind} {name}")
    print_line(f"wrote {output}")
    for figure, value in report.items():
        print_line(f"  {figure:15} {value:7.2f}")
