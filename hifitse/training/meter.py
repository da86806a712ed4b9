"""Where a training is and how fast it goes: what the display, the heartbeat and the rows of the log say of it."""

import datetime
import os
from collections import deque
from statistics import fmean
from typing import Any

from hifitse.experiment import Experiment
from hifitse.mixing.loader import num_validation_scenes
from hifitse.runs.heartbeat import Heartbeat
from hifitse.training.memory import peak_memory_bytes
from hifitse.training.step import StepResult

WINDOW = 50
"""Steps over which figures for people are averaged."""


class Meter:
    """Takes note of every step; ``beat`` is where the training is."""

    def __init__(self, experiment: Experiment, first_step: int, stop_at: int) -> None:
        config, self.device = experiment.config, experiment.device
        self.batch_size = config.train.batch_size
        self.recent: deque[tuple[StepResult, float, float]] = deque(maxlen=WINDOW)
        self.num_steps, self.seconds, self.waited_seconds = 0, 0.0, 0.0
        self.beat = Heartbeat(
            time=0.0,
            host=os.uname().nodename,
            process=os.getpid(),
            device=str(experiment.device),
            first_step=first_step,
            step=first_step,
            stop_at=stop_at,
            total_steps=config.train.total_steps,
            num_scenes=sum(num_validation_scenes(config, known) for known in (False, True)),
        )

    def step(self, result: StepResult, seconds: float, waited_seconds: float) -> None:
        """Take note of a step, and of how long it took and has waited for its scenes."""
        self.num_steps += 1
        self.seconds += seconds
        self.waited_seconds += waited_seconds
        if len(self.recent) == 1 and self.beat.step == self.beat.first_step + 1:
            # The first step also pays for starting up.
            self.recent.clear()
        self.recent.append((result, seconds, waited_seconds))
        all_seconds, all_waited = (sum(times) for times in list(zip(*self.recent, strict=True))[1:])
        self._update(
            step=result.step,
            phase=result.phase,
            activity="training",
            num_validated=0,
            means=_means([each.figures() for each, _, _ in self.recent if not each.skipped]),
            scenes_per_second=self.batch_size * len(self.recent) / all_seconds,
            wait_share=all_waited / all_seconds,
            remaining_seconds=(self.beat.stop_at - result.step) * all_seconds / len(self.recent),
            peak_memory_bytes=peak_memory_bytes(self.device),
        )

    def validating(self, num_scenes: int) -> None:
        """Take note of how many scenes of a validation are done."""
        self._update(activity="validating", num_validated=num_scenes)

    def validated(self) -> None:
        self._update(activity="training", num_validated=0)

    def take(self) -> dict[str, str | float]:
        """Return what is of the machine and the hour in a row about the steps since the last call."""
        taken: dict[str, str | float] = {
            "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "scenes_per_second": round(self.batch_size * self.num_steps / self.seconds, 3),
            "wait_share": round(self.waited_seconds / self.seconds, 4),
            "peak_memory_bytes": self.beat.peak_memory_bytes,
        }
        self.num_steps, self.seconds, self.waited_seconds = 0, 0.0, 0.0
        return taken

    def _update(self, **changes: Any) -> None:
        self.beat = self.beat.model_copy(update=changes)


def _means(steps: list[dict[str, float]]) -> dict[str, float]:
    names = dict.fromkeys(name for step in steps for name in step)
    return {name: fmean(step[name] for step in steps if name in step) for name in names}
