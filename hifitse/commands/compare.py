"""hifitse compare: which of two models is better, and is the difference real."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from hifitse.commands import _complete
from hifitse.commands._help import command, new_app
from hifitse.commands._options import DeviceOption, JsonOption
from hifitse.commands._setup import build_experiment, progress_bar
from hifitse.config.files import load_config
from hifitse.console import cell, info, out, print_json, print_line
from hifitse.errors import UsageError
from hifitse.runs.run import Run

if TYPE_CHECKING:
    from hifitse.config.changes import Change
    from hifitse.evaluation.comparison.paired import Difference
    from hifitse.evaluation.comparison.sides import Side
    from hifitse.metrics import Sample

app = new_app()

_WHAT = "RUN (its best, or else last), RUN@STEP, an exported model, or a folder that evaluate wrote"


@command(
    app,
    "hifitse compare demo@2800 demo@3200",
    "hifitse compare demo model.safetensors --json",
)
def compare(
    a: Annotated[str, typer.Argument(metavar="A", help=f"{_WHAT}.", autocompletion=_complete.runs)],
    b: Annotated[str, typer.Argument(metavar="B", help="The same.", autocompletion=_complete.runs)],
    scenes: Annotated[
        str | None,
        typer.Option(
            "--scenes",
            metavar="RUN",
            help="On the validation scenes of this run (default: of A, or of B if A is a file).",
            autocompletion=_complete.runs,
        ),
    ] = None,
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """Say which of two models is better, metric by metric, and whether the difference is real.

    Scene by scene on the same validation scenes, with 95 % intervals clustered by speaker. The results that their runs
    keep are used; what is missing is measured. It also says which settings differ.
    """
    from hifitse.evaluation.comparison.paired import differences
    from hifitse.evaluation.comparison.sides import Side, is_evaluation, read_evaluations

    changes: list[Change] = []
    if is_evaluation(a) and is_evaluation(b):
        names, what = (a, b), "pairs"
        samples: Sequence[Sequence[Sample]] = read_evaluations(a, b)
    elif is_evaluation(a) or is_evaluation(b):
        folder, other = (a, b) if is_evaluation(a) else (b, a)
        raise UsageError(f"{other}: {folder} is an evaluation; compare it with that of another model on the same list")
    else:
        sides = Side.parse(a), Side.parse(b)
        names, what = (sides[0].name, sides[1].name), "validation scenes"
        samples, changes = _on_scenes(sides, scenes, device), sides[0].changes_to(sides[1])
    found = differences(*samples)
    if json:
        print_json(
            {
                "a": names[0],
                "b": names[1],
                "num_scenes": len(samples[0]),
                "metrics": {each.metric.name: each.to_json() for each in found},
                "config": [{"key": change.key, "a": change.old, "b": change.new} for change in changes],
            }
        )
        return
    speakers = {sample.speaker for sample in samples[0]}
    print_line(f"A  {names[0]}")
    print_line(f"B  {names[1]}")
    print_line(f"{len(samples[0])} {what} of {len(speakers)} speakers, paired; intervals of 95 %, clustered by speaker")
    _show(found)
    _show_changes(changes)


def _on_scenes(sides: "tuple[Side, Side]", scenes: str | None, device: str) -> "list[Sequence[Sample]]":
    """Return what both models make of the same scenes; what is not known of them is measured."""
    from hifitse.evaluation.validation import scenes_digest
    from hifitse.mixing.loader import num_validation_scenes

    a, b = sides
    if scenes is None and a.result and b.result and a.result.scenes == b.result.scenes:
        return [a.result.samples, b.result.samples]
    run = Run.named(scenes) if scenes is not None else a.run or b.run
    if run is None:
        raise UsageError(f"{a.name} and {b.name}: files have no scenes; name a run that has with --scenes RUN")
    run.require()
    settings = load_config(run.config_path)
    experiment = build_experiment(settings, device)
    num_scenes = num_validation_scenes(settings) + num_validation_scenes(settings, of_train_speakers=True)
    digest = scenes_digest(experiment)
    found: list[Sequence[Sample]] = []
    for side in sides:
        if side.result and side.result.scenes_digest == digest:
            found.append(side.result.samples)
            continue
        info(f"measuring {side.name} on the validation scenes of {run.argument}")
        if side.run != run:
            info(f"note: {side.name} may have trained on their voices, which {run.argument} holds out")
        with progress_bar() as progress:
            found.append(side.measure(experiment, lambda done: progress(done, num_scenes, "scenes")))
    return found


def _show(found: "Sequence[Difference]") -> None:
    """Print a line for each metric, and the verdicts in words below, so that all fits into 80 columns."""
    from rich.table import Table

    from hifitse.evaluation.comparison.paired import Verdict

    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("metric", no_wrap=True)
    for title in ("A", "B", "A - B", "interval", "A in", "better"):
        table.add_column(title, justify="right", no_wrap=True)
    marks = {Verdict.A: "A", Verdict.B: "B", Verdict.NEITHER: "?", Verdict.UNKNOWN: ""}
    for each in found:
        interval = each.interval
        table.add_row(
            each.metric.name,
            f"{each.a:z.2f}",
            f"{each.b:z.2f}",
            f"{interval.mean:z.2f}",
            "-" if math.isnan(interval.low) else f"{interval.low:z.2f} to {interval.high:z.2f}",
            "-" if math.isnan(each.a_better) else f"{each.a_better:.0%}",
            marks[each.verdict],
        )
    out.print(table)
    for verdict in Verdict:
        if names := [each.metric.name for each in found if each.verdict is verdict]:
            print_line(f"{verdict.value}: {', '.join(names)}")
    print_line("A in: share of the scenes in which A is better. Of rms_ratio, A - B compares the distances from 1")


def _show_changes(changes: "Sequence[Change]") -> None:
    from hifitse.commands._tables import new_table

    if not changes:
        return
    out.print()
    table = new_table("settings", "A", "B")
    for change in changes:
        table.add_row(*(cell("-" if text is None else str(text)) for text in (change.key, change.old, change.new)))
    out.print(table)
