"""hifitse import: make a run from a checkpoint of the original training script."""

from pathlib import Path
from typing import Annotated

import typer

from hifitse.commands._help import command, new_app
from hifitse.commands._options import ConfigOption, JsonOption, RunOption, SetOption
from hifitse.commands._setup import resolve
from hifitse.console import info, print_json

app = new_app()


@command(app, "hifitse import checkpoint_0200000.pt --config my.yaml --run old")
def import_checkpoint(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Checkpoint of the original script, a .pt file.")],
    config: ConfigOption = None,
    run: RunOption = None,
    overrides: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Start a run from a checkpoint of the original HiFi-TSE script.

    It brings model weights, EMA weights, AdamW moments and the step.
    """
    settings, target = resolve(config, run, overrides)
    target.require_new()
    from hifitse.checkpoint.file import save_checkpoint
    from hifitse.checkpoint.original_convert import as_original, convert
    from hifitse.checkpoint.original_file import read_original
    from hifitse.runs.records import Origin, write_record
    from hifitse.training.start import prepare_new

    # Everything that can be wrong with the file is found before anything is written.
    original, settings = read_original(file), as_original(settings)
    converted = convert(original, settings)
    origin = Origin(source=file.name, step=original.step, digest=original.digest)
    with target.lock():
        target.remove_leftovers()
        prepare_new(target, settings)
        write_record(target.origin_path, origin)
        save_checkpoint(target.checkpoint_path(original.step), converted.header, converted.tensors)
    for note in converted.notes:
        info(f"note: {note}")
    has_moments = any(name.startswith("optimizer/") for name in converted.tensors)
    moments = "with AdamW moments" if has_moments else "without AdamW moments"
    info(
        f"imported step {original.step} of {file.name} into {target.path}: {converted.num_parameters:,} parameters, "
        f"their EMA, {moments}; go on with: hifitse resume --run {target.argument}"
    )
    if json:
        print_json(
            {"run": target.name, **origin.model_dump(), "parameters": converted.num_parameters}
            | {"tensors": len(converted.tensors), "moments": has_moments, "notes": converted.notes}
        )
