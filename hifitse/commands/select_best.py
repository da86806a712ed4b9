"""hifitse select-best: choose the checkpoint to use."""

from typing import TYPE_CHECKING, Annotated

import typer

from hifitse.commands import _complete
from hifitse.commands._help import command, new_app
from hifitse.commands._options import ConfigOption, DeviceOption, JsonOption, RunOption, SetOption
from hifitse.commands._setup import build_experiment, progress_bar, resolve
from hifitse.console import info, print_json, print_line

if TYPE_CHECKING:
    from hifitse.config.schema import Config
    from hifitse.evaluation.comparison.paired import Difference
    from hifitse.evaluation.selection import Candidate, Excluded, Ranked, Selection
    from hifitse.metrics import Metric
    from hifitse.runs.run import Run

app = new_app()


@command(
    app,
    "hifitse select-best --run demo --require 'rms_ratio>=0.8' --require 'ta_suppression_db>=10'",
    "hifitse select-best --run demo --metric tp_si_sdr --average 3",
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
    average: Annotated[
        int | None,
        typer.Option(
            "--average",
            min=2,
            metavar="K",
            help="Average the weights of the best K, validate that on the same scenes, and let it compete.",
        ),
    ] = None,
    config: ConfigOption = None,
    run: RunOption = None,
    overrides: SetOption = None,
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """Rank the validated checkpoints of a run and point `best` at the winner.

    Those beyond the bounds are left out, and it says why. Where the first two cannot be told apart, the one whose
    rms_ratio is nearer to 1 wins, else the later.
    """
    settings, target = resolve(config, run, overrides)
    target.require()
    from hifitse import metrics
    from hifitse.evaluation.bounds import Bound
    from hifitse.evaluation.selection import bounds, choose

    given = [Bound.parse(text) for text in require or ()]
    ranked_by, required = metrics.metric(metric or settings.selection.metric), given or bounds(settings)
    selection = choose(target, ranked_by, required)
    if average is not None:
        needed = [ranked_by, *(bound.metric for bound in required)]
        candidate = _average(settings, target, selection, average, needed, device)
        selection = choose(target, ranked_by, required, [candidate])
    if json:
        print_json(selection.to_json())
    else:
        _show(selection, target, [bound.metric.name for bound in given])


def _average(
    settings: "Config", run: "Run", selection: "Selection", num: int, metrics: "list[Metric]", device: str
) -> "Candidate":
    from hifitse.evaluation.averaging import average_best, validated_average
    from hifitse.mixing.loader import num_validation_scenes

    path = average_best(run, selection, num)
    info(f"averaged the best {num} checkpoints into {path}")
    num_scenes = num_validation_scenes(settings) + num_validation_scenes(settings, of_train_speakers=True)
    with progress_bar() as progress:
        return validated_average(
            path,
            selection,
            metrics,
            lambda: build_experiment(settings, device),
            lambda done: progress(done, num_scenes, "scenes"),
        )


def _show(selection: "Selection", run: "Run", required: list[str]) -> None:
    from hifitse.commands._tables import metrics_table

    best = selection.best
    rows: dict[tuple[int, tuple[int, ...]], tuple[dict[str, float], str]] = {}
    for ranked in selection.ranking:
        rows[ranked.step, ranked.average_of] = ranked.metrics, "*" if ranked is best else ""
    for excluded in selection.excluded:
        if excluded.metrics:
            rows[excluded.step, excluded.average_of] = excluded.metrics, "-"
    named = [(f"avg {len(steps)}" if steps else str(step), *rows[step, steps]) for step, steps in sorted(rows)]
    metrics_table("step", named, more=[selection.metric.name, *required])
    print_line(f"* best by {selection.metric.name}: {_name(best)}, {best.path}")
    print_line("These are figures on the validation, which selects: of the best one they are flattering, and no test")
    for excluded in selection.excluded:
        if excluded.metrics or excluded.is_damaged:
            print_line(f"- left out: {_name(excluded)}: {excluded.reason}")
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
    if second := selection.runner_up:
        _show_runner_up(best, second)
    print_line(f"val_loss alone would have picked step {selection.lowest_val_loss_step}")
    if words := selection.best_result.about_new_voices:
        print_line(words)


def _show_runner_up(best: "Ranked", second: "Ranked") -> None:
    """Say by how much the best one is ahead, and whether that is real."""
    if not (found := second.behind_best):
        return
    interval, metric = found.interval, found.metric
    of_what = "distance of rms_ratio from 1" if metric.name == "rms_ratio" else metric.name
    difference = f"{interval.mean:+.2f} {metric.unit}".rstrip()
    print_line(f"{_name(best)} against {_name(second)}, the runner-up: {of_what} {difference}, {_certainty(found)}")


def _certainty(found: "Difference") -> str:
    from hifitse.evaluation.comparison.paired import Verdict

    if found.verdict is Verdict.UNKNOWN:
        return "without an interval"
    interval = f"95 % interval {found.interval.low:.2f} to {found.interval.high:.2f} (paired, clustered by speaker)"
    if found.verdict is Verdict.NEITHER:
        return f"{interval}: they cannot be told apart, so the healthier rms_ratio or else the later one was taken"
    return f"{interval}: it is better"


def _name(item: "Ranked | Excluded") -> str:
    if item.average_of:
        return f"the average of steps {', '.join(map(str, item.average_of))}"
    return f"step {item.step}"
