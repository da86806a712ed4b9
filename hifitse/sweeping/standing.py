"""Where a sweep stands: its trials, the best first, and which settings mattered."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import optuna
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.trial import FrozenTrial, TrialState

from hifitse.metrics import Metric
from hifitse.runs.run import Run
from hifitse.sweeping.outcome import COMMAND, REASON, STEP, VALUE
from hifitse.sweeping.space import Value, varied
from hifitse.sweeping.sweep import Sweep

_FEWEST = 4
"""Complete trials without which nothing is said about settings."""
_NUM_TOP = 5
"""How many of the best trials are compared with all of them, at least; half of them where there are fewer."""
_MOST_SHOWN = 6
_STATES = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
_RANKS = ("complete", "pruned", "infeasible", "failed", "running")


@dataclass(frozen=True)
class TrialResult:
    number: int
    state: str
    """complete, pruned, infeasible (the gate of selection refuses every checkpoint), failed or running."""
    settings: dict[str, Value]
    value: float | None
    """Of the metric: of a complete trial that of the checkpoint that select-best chooses, of a pruned one the last."""
    step: int | None
    """Where that was measured, or where it was pruned."""
    reason: str
    """Why it is not complete."""
    command: str
    """That trains it, and with another --run, or --as, trains it again."""
    run: Run

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"run": str(self.run.path)}


@dataclass(frozen=True)
class Standing:
    sweep: Sweep
    metric: Metric
    space: dict[str, Any]
    """The settings that trials differ in, each with its range or its list of values."""
    trials: list[TrialResult]
    """The best first, then those that are not complete."""
    importance: dict[str, float]
    """Share of each setting in what tells the best trials from all complete ones, the largest first; too few: empty."""

    @classmethod
    def read(cls, sweep: Sweep) -> "Standing":
        metric, study = sweep.metric(), sweep.study()
        known = study.get_trials(deepcopy=False)
        trials = sorted((_result(sweep, trial) for trial in known), key=lambda trial: _rank(trial, metric))
        values = sweep.read().space["space"]
        space = {key: values[key] for key in varied(values)}
        found = _importance(study, [trial for trial in known if _is_complete(trial)], metric, list(space))
        return cls(sweep, metric, space, trials, found)

    @property
    def keys(self) -> list[str]:
        return list(self.space)

    @property
    def best(self) -> TrialResult | None:
        return self.trials[0] if self.trials and self.trials[0].state == "complete" else None

    @property
    def shown(self) -> list[TrialResult]:
        """The best trials, as many as a figure can tell apart, that have anything to show."""
        return [trial for trial in self.trials if trial.run.exists()][:_MOST_SHOWN]

    @property
    def why_none(self) -> str:
        """Why no trial is the best: what came of the one that came nearest to it."""
        return f"trial {self.trials[0].number}: {self.trials[0].reason}"

    def to_json(self) -> dict[str, Any]:
        return {
            "sweep": str(self.sweep.path),
            "metric": self.metric.name,
            "trials": [trial.to_json() for trial in self.trials],
            "best": self.best and self.best.to_json(),
            "importance": self.importance,
        }


def _result(sweep: Sweep, trial: FrozenTrial) -> TrialResult:
    noted = trial.user_attrs
    state = _STATES.get(trial.state, "running")
    if state == "complete" and not _is_complete(trial):
        state = "infeasible"
    return TrialResult(
        trial.number,
        state,
        dict(trial.params),
        noted.get(VALUE),
        noted.get(STEP),
        noted.get(REASON, ""),
        noted.get(COMMAND, ""),
        sweep.run(trial.number),
    )


def _is_complete(trial: FrozenTrial) -> bool:
    return trial.state is TrialState.COMPLETE and not any(value > 0 for value in trial.constraints.values())


def _rank(trial: TrialResult, metric: Metric) -> tuple[int, float, int]:
    cost = math.inf if trial.value is None else metric.cost(trial.value)
    return _RANKS.index(trial.state), cost, trial.number


def _importance(study: optuna.Study, complete: list[FrozenTrial], metric: Metric, keys: list[str]) -> dict[str, float]:
    if not keys or len(complete) < _FEWEST:
        return {}
    share = max(0.1, min(_NUM_TOP / len(complete), 0.5))
    costs = sorted((trial.value or 0.0) * (-1 if metric.better == "higher" else 1) for trial in complete)
    if costs[math.ceil(share * len(costs)) - 1] == costs[-1]:
        # They are all as good.
        return {}
    # Without those that no checkpoint of may be used.
    judged = optuna.create_study(direction=study.direction)
    judged.add_trials(complete)
    evaluator = PedAnovaImportanceEvaluator(target_quantile=share)
    return optuna.importance.get_param_importances(judged, evaluator=evaluator, params=keys)
