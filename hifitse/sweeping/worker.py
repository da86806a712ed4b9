"""One of the processes of a sweep: it trains one trial after the other, until there are as many as were asked for."""

import contextlib
import time
from collections.abc import Callable

import optuna
from optuna.trial import TrialState

from hifitse.distributed.signals import Interrupts
from hifitse.errors import Interrupted
from hifitse.metrics import Metric
from hifitse.seeding import derive
from hifitse.sweeping.claims import Claims
from hifitse.sweeping.outcome import Outcome
from hifitse.sweeping.space import Space
from hifitse.sweeping.sweep import Sweep
from hifitse.sweeping.trial import Trial

_POLL_SECONDS = 0.5


class Worker:
    """Works on a sweep that was joined, alone or beside others.

    Args:
        seed: of the choices.
        interrupts: a signal ends the trial at hand in order; it is left for others, or for the next call.
    """

    def __init__(
        self, sweep: Sweep, space: Space, metric: Metric, seed: int, device: str, interrupts: Interrupts
    ) -> None:
        self.sweep, self.space, self.metric, self.seed, self.device = sweep, space, metric, seed, device
        self.interrupts = interrupts
        self.study, self.claims = sweep.study(), Claims(sweep.claims_path)

    def work(self, num_trials: int, began: Callable[[Trial], None], ended: Callable[[Trial, Outcome], None]) -> None:
        """Train until the sweep has so many trials, all of them ended.

        Args:
            began: called with a trial that begins, or goes on.
            ended: called with a trial and what came of it.

        Raises:
            Interrupted: a signal arrived.
        """
        while True:
            with contextlib.ExitStack() as held:
                with self.sweep.alone():
                    if trial := self._next(num_trials):
                        held.enter_context(self.claims.hold(trial.number))
                if trial:
                    began(trial)
                    outcome = trial.train(self._pause)
                    outcome.tell(self.study, trial.trial, self.metric)
                    ended(trial, outcome)
                elif self._unfinished():
                    # Others are at work; what they leave behind is taken over.
                    self._pause()
                else:
                    return

    def _next(self, num_trials: int) -> Trial | None:
        """Return a trial whose process is gone, or a new one; None: all are begun. Others are held off."""
        free = [number for number in self._unfinished() if not self.claims.is_held(number)]
        # Read again: who lets go of a trial that has ended has said so before.
        left, known = [number for number in self._unfinished() if number in free], self.study.get_trials(deepcopy=False)
        if left:
            trial = optuna.Trial(self.study, known[left[0]]._trial_id)
        elif len(known) < num_trials:
            # So that it does not matter which process chooses.
            self.study.sampler = optuna.samplers.TPESampler(seed=derive(self.seed, "sweep", len(known)) % 2**32)
            trial = self.study.ask()
        else:
            return None
        return Trial(self.sweep, self.study, trial, self.space, self.metric, self.device)

    def _unfinished(self) -> list[int]:
        return [trial.number for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))]

    def _pause(self) -> None:
        self.claims.beat()
        if self.interrupts.received:
            raise Interrupted("interrupted", self.interrupts.received)
        time.sleep(_POLL_SECONDS)
