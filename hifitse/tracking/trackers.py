"""All tools that a training is reported to."""

import functools
import importlib
import importlib.util
import time
from collections.abc import Callable, Sequence
from typing import Any

from hifitse.config.tracking import TrackingConfig
from hifitse.errors import UsageError
from hifitse.tracking.follower import Follower
from hifitse.tracking.protocol import TrackedRun
from hifitse.tracking.scenes import HeardScene

END_SECONDS = 10.0
"""How long the end of a training waits for all of them."""
_CLASSES = {"tensorboard": "TensorBoard", "trackio": "Trackio", "wandb": "Wandb", "mlflow": "Mlflow"}


def require_packages(sections: Sequence[TrackingConfig]) -> None:
    """Raise UsageError if the package of a tool is not installed."""
    for section in sections:
        found = importlib.util.find_spec(section.kind)
        # A folder of that name in the working directory has no origin.
        if found is None or found.origin is None:
            raise UsageError(
                f"tracking: {section.kind} is not installed; pip install 'hifitse[{section.kind}]', or leave it out"
            )


class Trackers:
    """Tells the tools of a branch; a context, on leaving which they have all of it, or are given up."""

    def __init__(self, run: TrackedRun) -> None:
        self.run = run
        self._followers: list[Follower] = []
        self._told: set[str] = set()

    def __enter__(self) -> "Trackers":
        self._followers = [
            Follower(section.kind, section.num_scenes, functools.partial(_class(section), section, self.run), self.run)
            for section in self.run.config.tracking
        ]
        return self

    def __exit__(self, *_: object) -> None:
        for follower in self._followers:
            follower.end()
        deadline = time.monotonic() + END_SECONDS
        for follower in self._followers:
            follower.wait(deadline - time.monotonic())

    @property
    def num_scenes(self) -> int:
        """Scenes of a validation that one of them is to get."""
        return max((follower.num_scenes for follower in self._followers), default=0)

    def hear(self, step: int, scenes: list[HeardScene]) -> None:
        """Send scenes of a validation, `num_scenes` of them."""
        for follower in self._followers:
            follower.hear(step, scenes)

    def troubles(self) -> list[str]:
        """Return what has failed and was not returned before: one message for each tool at most."""
        new = [f for f in self._followers if f.trouble and f.kind not in self._told]
        self._told |= {follower.kind for follower in new}
        return [f"tracking: {follower.kind}: {follower.trouble}" for follower in new]


def _class(section: TrackingConfig) -> Callable[..., Any]:
    # Imported here: another thread must not import while loader processes are started.
    module = importlib.import_module(f"hifitse.tracking.tools.{section.kind}")
    found: Callable[..., Any] = getattr(module, _CLASSES[section.kind])
    return found
