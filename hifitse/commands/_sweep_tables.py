"""What a sweep says about its trials, for a terminal of 80 columns."""

from collections.abc import Mapping, Sequence

from hifitse.commands._tables import new_table
from hifitse.console import cell, out, print_line
from hifitse.metrics import Metric
from hifitse.sweeping.outcome import Outcome
from hifitse.sweeping.space import Value, short_keys, shown
from hifitse.sweeping.standing import Standing, TrialResult

_BAR_WIDTH = 30


def settings_in_words(settings: Mapping[str, Value], keys: Sequence[str]) -> str:
    """Return ``ta_weight 0.05, learning_rate 0.0007493``."""
    names = short_keys(keys)
    return ", ".join(f"{names[key]} {shown(settings[key])}" for key in keys)


def in_words(result: Outcome | TrialResult, metric: Metric) -> str:
    """Return what came of a trial."""
    value = "" if result.value is None else f"{metric.name} {result.value:.2f} {metric.unit}".rstrip()
    match result.state:
        case "complete":
            return f"{value} at step {result.step}"
        case "pruned":
            return f"pruned at step {result.step}: {result.reason}" + (f", {value}" if value else "")
    return f"{result.state}: {result.reason}" if result.reason else result.state


def show_standing(standing: Standing) -> None:
    """Print the trials, the best first, which settings mattered, and the command of the best."""
    metric, names = standing.metric, short_keys(standing.keys)
    table = new_table("trial")
    table.columns[0].justify = "right"
    table.add_column(metric.name, justify="right", no_wrap=True)
    table.add_column("step", justify="right", no_wrap=True)
    for key in standing.keys:
        table.add_column(cell(names[key]), justify="right", overflow="fold")
    table.add_column("", no_wrap=True)
    why: dict[str, list[str]] = {}
    for trial in standing.trials:
        value = "" if trial.value is None else f"{trial.value:.2f}"
        values = (cell(shown(trial.settings[key])) if key in trial.settings else "" for key in standing.keys)
        state = "" if trial.state == "complete" else trial.state
        table.add_row(str(trial.number), value, "" if trial.step is None else str(trial.step), *values, state)
        if trial.reason:
            why.setdefault(f"{trial.state}: {trial.reason}", []).append(str(trial.number))
    out.print(table)
    for reason, numbers in why.items():
        print_line(f"{'trials' if len(numbers) > 1 else 'trial'} {', '.join(numbers)} {reason}")
    if standing.importance:
        out.print()
        print_line("which settings mattered: their shares in what tells the best trials from the others")
        for key, share in standing.importance.items():
            print_line(f"{share:5.0%}  {'█' * round(share * _BAR_WIDTH):{_BAR_WIDTH}}  {key}")
    if best := standing.best:
        out.print()
        print_line(f"best: trial {best.number}, {in_words(best, metric)}: {best.run.path}")
        print_line("The validation chose it, so the figure flatters. It is trained again, under another name, by")
        print_line(best.command)
