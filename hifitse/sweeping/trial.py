"""One trial: trained by the product's own command, watched at its validations, ended where it is not worth going on."""

import shlex
from collections.abc import Callable

import optuna

from hifitse.config.files import load_config
from hifitse.errors import HifitseError, RecordError
from hifitse.evaluation.result import ValidationResult, read_result
from hifitse.evaluation.selection import Candidate, bounds, objection
from hifitse.metrics import Metric
from hifitse.runs.heartbeat import read_heartbeat
from hifitse.runs.summary import is_trained
from hifitse.sweeping.child import Child
from hifitse.sweeping.outcome import COMMAND, SCENES, Outcome, finished, first_step, stopped
from hifitse.sweeping.space import Range, Space, Value, override
from hifitse.sweeping.sweep import Sweep, objective

_FINISHED, _STOPPED, _INTERRUPTED = 0, 3, (130, 143)
"""Exit codes of a training."""


class Trial:
    """A trial that this process has claimed.

    Args:
        space: optuna chooses the settings from it, unless they were chosen before.
        device: for ``--device``.
    """

    def __init__(
        self, sweep: Sweep, study: optuna.Study, trial: optuna.Trial, space: Space, metric: Metric, device: str
    ) -> None:
        self.study, self.trial, self.metric, self.device = study, trial, metric, device
        self.number, self.run = trial.number, sweep.run(trial.number)
        self.seen = set(study.get_trials(deepcopy=False)[trial.number].intermediate_values)
        """Steps of validations that were judged."""
        self.settings = {key: _suggest(trial, key, values) for key, values in space.settings.items()}
        self.is_new = COMMAND not in trial.user_attrs
        """Whether no other process has begun it."""
        if self.is_new:
            trial.set_user_attr(COMMAND, shlex.join(["hifitse", *self._command(sweep, space)]))

    def _command(self, sweep: Sweep, space: Space) -> list[str]:
        if forked := space.fork():
            origin, step = forked
            command = ["resume", "--run", str(origin.path), "--from", str(step), "--as", str(self.run.path)]
        else:
            command = ["train", "--run", str(self.run.path)]
        command += ["--config", str(sweep.base_path)]
        command += [part for key, value in self.settings.items() for part in ("--set", override(key, value))]
        return command + ([] if self.device == "auto" else ["--device", self.device])

    def train(self, pause: Callable[[], None]) -> Outcome:
        """Train to the end of the trial, or go on where a process that is gone has left it.

        Args:
            pause: waits a moment; what it raises ends the training in order.
        """
        while self._is_trained():
            # By what a killed process has left, which saves its state and ends.
            pause()
        outcome = None
        while outcome is None:
            outcome = stopped(self.run) or self._go_on(pause)
        return outcome

    def _is_trained(self) -> bool:
        return is_trained(self.run, read_heartbeat(self.run))

    def _go_on(self, pause: Callable[[], None]) -> Outcome | None:
        """Train until the training ends; None: somebody has interrupted it."""
        arguments = shlex.split(self.trial.user_attrs[COMMAND])[1:]
        if self.run.exists():
            # Exact, so it is as if nobody had ended it.
            arguments = ["resume", "--run", str(self.run.path), "--device", self.device]
        verdict = None
        with Child(arguments) as child:
            while (code := child.code) is None:
                pause()
                if verdict is None and (verdict := self._judge_news()):
                    child.terminate()
            if verdict:
                return verdict
            if code in _INTERRUPTED:
                return None
            if code == _STOPPED and (outcome := stopped(self.run)):
                return outcome
            if code != _FINISHED:
                return Outcome("failed", child.last_words)
        try:
            return self._judge_news() or finished(self.run, self.metric)
        except HifitseError as error:
            return Outcome("failed", str(error))

    def _judge_news(self) -> Outcome | None:
        """Tell optuna of the validations that are new; return why the trial ends here, if it does.

        One that the gate of selection refuses says nothing of how good a trial is, and is left out.
        """
        steps = [step for step in self.run.validation_steps() if step not in self.seen]
        if not steps:
            return None
        config, start = load_config(self.run.config_path), first_step(self.run)
        for step in steps:
            try:
                result = read_result(self.run, step)
            except RecordError:
                # A rollback may move it away just now.
                continue
            self.seen.add(step)
            if step <= start:
                continue
            if other := self._other_scenes(result):
                return other
            if objection(self.run, Candidate(self.run.checkpoint_path(step), result), self.metric, bounds(config)):
                continue
            value = result.metrics[self.metric.name]
            self.trial.report(objective(self.metric, value), step)
            if step < config.train.total_steps and self.trial.should_prune():
                return Outcome("pruned", "behind the median", value, step)
        return None

    def _other_scenes(self, result: ValidationResult) -> Outcome | None:
        """Return that the trial fails if it was validated on other scenes than the first one was."""
        if SCENES not in self.trial.user_attrs:
            self.trial.set_user_attr(SCENES, result.scenes_digest)
        for other in self.study.get_trials(deepcopy=False)[: self.trial.number]:
            if other.user_attrs.get(SCENES, result.scenes_digest) != result.scenes_digest:
                return Outcome(
                    "failed",
                    f"validated on other scenes than trial {other.number}, so they cannot be compared; leave out of the"
                    " space what changes them (of data, audio, mixing and validation)",
                )
        return None


def _suggest(trial: optuna.Trial, key: str, values: Range | tuple[Value, ...]) -> Value:
    """Return the value of a setting; one that was chosen before stays."""
    if not isinstance(values, Range):
        chosen: Value = trial.suggest_categorical(key, values)
        return chosen
    if isinstance(values.low, int) and isinstance(values.high, int):
        return trial.suggest_int(key, values.low, values.high, log=values.log)
    return trial.suggest_float(key, values.low, values.high, log=values.log)
