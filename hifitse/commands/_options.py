"""The options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from hifitse.commands import _complete
from hifitse.config.section import MAX_STEP

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE",
        help="Configuration (default: that of --run if it exists, else hifitse.yaml or configs/hifi_tse.yaml here).",
    ),
]
RunOption = Annotated[
    str | None,
    typer.Option(
        "--run",
        "-r",
        metavar="RUN",
        help="Name under runs/, or a path (default: the config's file name).",
        autocompletion=_complete.runs,
    ),
]
RequiredRunOption = Annotated[
    str,
    typer.Option("--run", "-r", metavar="RUN", help="Name under runs/, or a path.", autocompletion=_complete.runs),
]
ModelOption = Annotated[
    str | None,
    typer.Option("--model", metavar="FILE", help="An exported model, or bundled: the one that comes with hifitse."),
]
OfRunOption = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="CHECKPOINT",
        help="Of the run: a step, last, best, or a file (default: best).",
        autocompletion=_complete.checkpoints,
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        "-s",
        metavar="KEY=VALUE",
        help="Override a setting, e.g. loss.ta_weight=0.2. Repeatable.",
        autocompletion=_complete.settings,
    ),
]
FromOption = Annotated[
    str,
    typer.Option(
        "--from",
        metavar="CHECKPOINT",
        help="The checkpoint: a step, last, best, or a file.",
        autocompletion=_complete.checkpoints,
    ),
]
ResetOption = Annotated[
    bool,
    typer.Option("--reset-optimizer", help="Fresh AdamW moments; the learning rate keeps its place and re-warms."),
]
StopAtOption = Annotated[
    int | None,
    typer.Option(
        "--stop-at",
        min=1,
        max=MAX_STEP,
        metavar="STEP",
        help="End there with the state saved; the schedule is untouched.",
    ),
]
UnsafeOption = Annotated[
    bool, typer.Option("--allow-unsafe-objective", help="Train even if the audit of the objective fails.")
]
DeviceOption = Annotated[str, typer.Option("--device", metavar="DEVICE", help="auto, cpu, cuda or cuda:N.")]
RanksOption = Annotated[
    int,
    typer.Option("--ranks", min=1, max=64, metavar="N", help="Train in N processes, one for each GPU of this machine."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Write the result to stdout as JSON.")]
PerceptualOption = Annotated[
    str,
    typer.Option(
        "--metrics",
        metavar="NAMES",
        help="Further ones, e.g. sdri,pesq_wb,estoi (docs/evaluation.md lists them); needs the extra metrics.",
        autocompletion=_complete.perceptual,
    ),
]


def names_in(listed: str) -> list[str]:
    """Return the names in a list with commas."""
    return [name.strip() for name in listed.split(",") if name.strip()]
