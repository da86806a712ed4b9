"""What came of a trial: the best checkpoint that selection accepts, or why there is none."""

import math
from dataclasses import dataclass
from typing import Literal

import optuna
from optuna.trial import TrialState

from hifitse.config.files import load_config
from hifitse.errors import HifitseError, UsageError
from hifitse.evaluation.result import readable_results
from hifitse.evaluation.selection import Candidate, bounds, choose, objection
from hifitse.metrics import Metric
from hifitse.runs.records import read_events, read_origin
from hifitse.runs.run import Run
from hifitse.sweeping.sweep import objective

State = Literal["complete", "infeasible", "pruned", "failed"]
VALUE, STEP, REASON, COMMAND, SCENES = "value", "step", "reason", "command", "scenes"
"""What is noted of a trial besides what optuna needs."""
_GATE = "gate"


@dataclass(frozen=True)
class Outcome:
    state: State
    reason: str = ""
    value: float | None = None
    """Of the metric: of a complete trial that of the checkpoint that select-best chooses, of a pruned one the last."""
    step: int | None = None
    """Where that was measured, or where it was pruned."""

    def tell(self, study: optuna.Study, trial: optuna.Trial, metric: Metric) -> None:
        """Put it down as the end of a trial."""
        for key, said in ((VALUE, self.value), (STEP, self.step), (REASON, self.reason)):
            trial.set_user_attr(key, said)
        is_refused = self.state == "infeasible" or (self.state == "pruned" and self.value is None)
        trial.set_constraint(_GATE, float(is_refused))
        match self.state:
            case "complete":
                assert self.value is not None, "it was selected by its value"
                study.tell(trial, objective(metric, self.value))
            case "infeasible":
                # The worst there is: no checkpoint of it may be used.
                study.tell(trial, -math.inf if metric.better == "higher" else math.inf)
            case "pruned":
                study.tell(trial, state=TrialState.PRUNED)
            case "failed":
                study.tell(trial, state=TrialState.FAIL)


def first_step(run: Run) -> int:
    """Return the step after which validations are the trial's own: a fork has those of its origin, too."""
    origin = read_origin(run)
    return origin.step if origin else 0


def finished(run: Run, metric: Metric) -> Outcome:
    """Return what a trial that was trained to its end has reached, and point its ``best`` at that."""
    config, start = load_config(run.config_path), first_step(run)
    try:
        selection = choose(run, metric, bounds(config))
    except UsageError:
        raise
    except HifitseError:
        selection = None
    for ranked in selection.ranking if selection else ():
        if ranked.step > start:
            return Outcome("complete", value=ranked.metrics[metric.name], step=ranked.step)
    last = readable_results(run)[-1]
    refused = objection(run, Candidate(run.checkpoint_path(last.step), last), metric, bounds(config))
    return Outcome("infeasible", refused.reason if refused else "no checkpoint is left that selection accepts")


def stopped(run: Run) -> Outcome | None:
    """Return what a guard that stopped a trial has said; None: none has."""
    events = [event for event in read_events(run) if event.kind in ("started", "resumed", "stopped")]
    if not events or events[-1].kind != "stopped":
        return None
    return Outcome("pruned", str(events[-1].get("guard")), step=events[-1].step)
