"""hifitse import: make a run from a checkpoint of the original training script."""

import json as json_text
from pathlib import Path
from typing import Annotated

import typer

from hifitse.commands._options import ConfigOption, JsonOption, RunOption, SetOption, resolve
from hifitse.console import print_json, say


def import_checkpoint(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Checkpoint of the original script, a .pt file.")],
    config: ConfigOption = None,
    run: RunOption = None,
    overrides: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Start a run from a checkpoint of the original script: weights, averaged weights, AdamW moments, step."""
    settings, target = resolve(config, run, overrides)
    from hifitse.checkpoint import file as checkpoints
    from hifitse.checkpoint.original_convert import convert
    from hifitse.checkpoint.original_file import read
    from hifitse.runs.branches import set_aside_after
    from hifitse.runs.run import write_text

    target.require_new()
    # Everything that can be wrong with the file is found before anything is written.
    original = read(file)
    converted = convert(original, settings)
    step = original.step
    with target.lock():
        target.require_new()
        set_aside_after(target, 0)
        target.write_config(settings)
        origin = {"source": file.name, "digest": original.digest, "step": step}
        write_text(target.origin_path, json_text.dumps(origin) + "\n")
        checkpoints.save(target.checkpoint_path(step), converted.header, converted.tensors)
    for note in converted.notes:
        say(f"note: {note}")
    moments = "with AdamW moments" if original.adamw else "without AdamW moments"
    say(
        f"imported step {step} of {file.name} into {target.path}: {converted.num_parameters:,} parameters, their "
        f"average, {moments}; go on with: hifitse resume --run {target.path}"
    )
    if json:
        print_json(
            {"run": target.name, **origin, "parameters": converted.num_parameters, "tensors": len(converted.tensors)}
            | {"moments": original.adamw is not None, "notes": converted.notes}
        )
