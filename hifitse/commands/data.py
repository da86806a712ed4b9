"""hifitse data: look at, listen to, and convert what the model gets."""

from pathlib import Path
from typing import Annotated

import typer

from hifitse.commands import data_pack, data_scan
from hifitse.commands._options import ConfigOption, JsonOption, RunOption, SetOption, build_experiment, resolve
from hifitse.console import out, print_json

app = typer.Typer(help="Count, hear and convert what the model gets.", no_args_is_help=True)
app.command("scan")(data_scan.scan)
app.command("pack")(data_pack.pack)


@app.command("preview")
def preview(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where to write the scenes.")],
    number: Annotated[int, typer.Option("-n", min=1, metavar="N", help="How many scenes.")] = 8,
    step: Annotated[
        int | None,
        typer.Option("--step", min=0, metavar="STEP", help="Scenes of this training step (default: the exam's)."),
    ] = None,
    config: ConfigOption = None,
    run: RunOption = None,
    overrides: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Render scenes to WAV files, each with its recipe: mixture, reference and target."""
    settings, _ = resolve(config, run, overrides)
    from hifitse.mixing.preview import write_scenes

    experiment = build_experiment(settings, "cpu")
    scenes = write_scenes(experiment, output, number, step)
    if json:
        print_json(scenes)
        return
    for scene in scenes:
        out.print(f"{scene['folder']}: {scene['speaker']}, target {'present' if scene['present'] else 'absent'}")
