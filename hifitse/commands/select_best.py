"""hifitse select-best: choose the checkpoint to use."""

from typing import Annotated

import typer

from hifitse.commands._options import ConfigOption, DeviceOption, JsonOption, RunOption, SetOption, resolve
from hifitse.console import out, print_json


def select_best(
    metric: Annotated[
        str | None, typer.Option("--metric", metavar="NAME", help="Rank by this (default: selection.metric).")
    ] = None,
    require: Annotated[
        list[str] | None,
        typer.Option(
            "--require",
            metavar="BOUND",
            help="e.g. 'rms_ratio>=0.8' (default: the bounds of health.guards and selection.require). Repeatable.",
        ),
    ] = None,
    config: ConfigOption = None,
    run: RunOption = None,
    overrides: SetOption = None,
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """Rank the run's validated checkpoints, say why others were left out, and point `best` at the winner."""
    settings, target = resolve(config, run, overrides)
    from hifitse import metrics
    from hifitse.commands._tables import metrics_table
    from hifitse.evaluation.bounds import Bound
    from hifitse.evaluation.selection import bounds, choose

    target.require()
    given = [Bound.parse(text) for text in require or ()]
    selection = choose(target, metrics.metric(metric or settings.selection.metric), given or bounds(settings))
    if json:
        print_json(selection.to_json())
        return
    rows = [(ranked.step, ranked.metrics, "") for ranked in selection.ranking[1:]]
    rows += [(excluded.step, excluded.metrics, "left out") for excluded in selection.excluded if excluded.metrics]
    rows += [(selection.best.step, selection.best.metrics, "<- best")]
    metrics_table(sorted(rows, key=lambda row: row[0]))
    for excluded in selection.excluded:
        if excluded.metrics:
            out.print(f"left out: step {excluded.step}: {excluded.reason}", soft_wrap=True)
    if gone := [excluded for excluded in selection.excluded if excluded.is_gone]:
        reasons = ", ".join(dict.fromkeys(excluded.reason for excluded in gone))
        steps = ", ".join(str(excluded.step) for excluded in gone)
        out.print(f"left out: {len(gone)} whose exam alone is left ({reasons}): {steps}", soft_wrap=True)
    if other := [str(item.step) for item in selection.excluded if not item.metrics and not item.is_gone]:
        out.print(
            f"left out: {len(other)} without a comparable exam (hifitse validate --run {target.argument} --from STEP "
            f"gives them one): {', '.join(other)}",
            soft_wrap=True,
        )
    if len(selection.ranking) > 1 and (behind := selection.ranking[1].behind_best):
        out.print(
            f"best: step {selection.best.step}, ahead of step {selection.ranking[1].step} by "
            f"{behind[0]:.2f} ± {behind[1]:.2f} {selection.metric.unit} in {selection.metric.name} "
            "(paired over the exam's scenes)",
            soft_wrap=True,
        )
    out.print(f"val_loss alone would have picked step {selection.lowest_val_loss_step}")
