"""hifitse init: write a configuration to start from."""

import json as json_text
from pathlib import Path
from typing import Annotated

import typer

from hifitse.commands import _complete
from hifitse.commands._help import command, new_app
from hifitse.commands._options import JsonOption
from hifitse.config.files import BUNDLED, bundled_names, load_config
from hifitse.console import info, print_json, print_line
from hifitse.errors import ConfigError, UsageError
from hifitse.storage import is_text, write_text

app = new_app()

FILE = "hifitse.yaml"
"""What commands look for in the working directory."""


SpeechOption = Annotated[
    list[Path] | None, typer.Option("--speech", metavar="PATH", help="A corpus for data.speech. Repeatable.")
]
NoiseOption = Annotated[
    list[Path] | None, typer.Option("--noise", metavar="PATH", help="A corpus for data.noise. Repeatable.")
]
RirOption = Annotated[
    list[Path] | None, typer.Option("--rir", metavar="PATH", help="A corpus for data.rir. Repeatable.")
]


@command(
    app,
    "hifitse init --like demo",
    "hifitse init my_experiment --speech /corpora/vctk --noise /corpora/demand --rir /corpora/rirs",
)
def init(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where to write it.")] = Path(),
    like: Annotated[
        str,
        typer.Option(
            "--like",
            metavar="NAME",
            help="The configuration to start from: demo (minutes on a CPU), hifi_tse (48 kHz, a GPU), libri2mix, ...",
            autocompletion=_complete.bundled,
        ),
    ] = "hifi_tse",
    speech: SpeechOption = None,
    noise: NoiseOption = None,
    rir: RirOption = None,
    json: JsonOption = False,
) -> None:
    """Write a commented configuration to start from.

    It becomes hifitse.yaml, which all commands find in their working directory.
    """
    if like not in bundled_names():
        raise UsageError(f"--like {like}: unknown; there are {', '.join(bundled_names())}")
    path = folder / FILE
    if path.exists():
        raise UsageError(f"{path}: exists; edit it, or name another folder")
    text = (BUNDLED / "configs" / f"{like}.yaml").read_text()
    for kind, paths in {"speech": speech, "noise": noise, "rir": rir}.items():
        for given in paths or ():
            if not is_text(str(given.absolute())):
                raise UsageError(f"--{kind} {given}: not UTF-8, which names of folders have to be; rename it")
            if not given.exists():
                raise UsageError(f"--{kind} {given}: no such file or folder in {Path.cwd()}")
        if paths:
            line = f"  {kind}: [{', '.join(json_text.dumps(str(given.absolute())) for given in paths)}]"
            text = "\n".join(line if old.startswith(f"  {kind}: [") else old for old in text.split("\n"))
    write_text(path, text)
    try:
        load_config(path)
    except ConfigError:
        # A recipe names its corpora by a variable, which may not be set.
        path.unlink()
        raise
    if json:
        print_json({"config": str(path), "like": like})
        return
    print_line(f"wrote {path}")
    where = "" if folder == Path() else f"cd {folder} && "
    info(f"next: {where}hifitse smoke --steps 20, then {where}hifitse train")
