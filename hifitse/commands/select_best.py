"""hifitse select-best: choose the checkpoint to use."""

import math
from typing import TYPE_CHECKING, Annotated

import typer

from hifitse.commands import _complete
from hifitse.commands._help import command, new_app
from hifitse.commands._options import ConfigOption, DeviceOption, JsonOption, RunOption, SetOption
from hifitse.commands._setup import resolve
from hifitse.console import print_json, print_line

if TYPE_CHECKING:
    from hifitse.evaluation.selection import Selection
    from hifitse.runs.run import Run

app = new_app()


@command(
    app,
    "hifitse select-best --run demo --metric tp_si_sdr",
    "hifitse select-best --run demo --require 'rms_ratio>=0.8' --require 'ta_suppression_db>=10'",
)
def select_best(
    metric: Annotated[
        str | None,
        typer.Option(
            "--metric",
            metavar="NAME",
            help="Rank by this (default: selection.metric).",
            autocompletion=_complete.metrics,
        ),
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
    """Rank the validated checkpoints of a run and point `best` at the winner.

    Those beyond the bounds are left out, and it says why.
    """
    settings, target = resolve(config, run, overrides)
    target.require()
    from hifitse import metrics
    from hifitse.evaluation.bounds import Bound
    from hifitse.evaluation.selection import bounds, choose

    given = [Bound.parse(text) for text in require or ()]
    selection = choose(target, metrics.metric(metric or settings.selection.metric), given or bounds(settings))
    if json:
        print_json(selection.to_json())
    else:
        _show(selection, target, [bound.metric.name for bound in given])


def _show(selection: "Selection", run: "Run", required: list[str]) -> None:
    from hifitse.commands._tables import metrics_table
    from hifitse.evaluation.result import read_result

    best, unit = selection.best, f" {selection.metric.unit}".rstrip()
    rows = {ranked.step: (ranked.metrics, "") for ranked in selection.ranking[1:]}
    rows |= {excluded.step: (excluded.metrics, "-") for excluded in selection.excluded if excluded.metrics}
    rows |= {best.step: (best.metrics, "*")}
    named = [(str(step), *rows[step]) for step in sorted(rows)]
    metrics_table("step", named, more=[selection.metric.name, *required])
    print_line(f"* best by {selection.metric.name}: step {best.step}, {best.path}")
    print_line("These are figures on the validation, which selects: of the best one they are flattering, and no test")
    for excluded in selection.excluded:
        if excluded.metrics or excluded.is_damaged:
            print_line(f"- left out: step {excluded.step}: {excluded.reason}")
    if gone := [excluded for excluded in selection.excluded if excluded.is_gone]:
        reasons = ", ".join(dict.fromkeys(excluded.reason for excluded in gone))
        steps = ", ".join(str(excluded.step) for excluded in gone)
        print_line(f"left out: {len(gone)} of which only the validation result is left ({reasons}): {steps}")
    apart = [item for item in selection.excluded if not item.metrics and not item.is_gone and not item.is_damaged]
    if other := [str(item.step) for item in apart]:
        print_line(
            f"left out: {len(other)} without a comparable validation (hifitse validate --run {run.argument} "
            f"--from STEP does it): {', '.join(other)}"
        )
    if len(selection.ranking) > 1 and (behind := selection.ranking[1].behind_best):
        error = "" if math.isnan(behind.standard_error) else f" ± {behind.standard_error:.2f}"
        print_line(
            f"step {best.step} is ahead of step {selection.ranking[1].step} by {behind.mean:.2f}{error}{unit} in "
            f"{selection.metric.name} (paired over the validation scenes, standard error clustered by speaker)"
        )
    print_line(f"val_loss alone would have picked step {selection.lowest_val_loss_step}")
    if words := read_result(run, best.step).about_new_voices:
        print_line(words)
