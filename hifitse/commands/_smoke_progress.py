"""What a smoke test says while it trains: a line now and then, how long it takes, and how it would be shorter."""

import time

from hifitse.console import info
from hifitse.report.live.lines import TimeLeft
from hifitse.training.step import StepResult

_SECONDS_BETWEEN_LINES = 10.0
_LONG_SECONDS = 600.0


class SmokeProgress:
    """Called with the result of each step."""

    def __init__(self, stop_at: int, compiles: bool) -> None:
        self.time_left = TimeLeft(stop_at, compiles)
        self.last_step_at = self.last_line_at = time.monotonic()

    def __call__(self, result: StepResult) -> None:
        now = time.monotonic()
        estimate = self.time_left.step(result.step, now - self.last_step_at)
        self.last_step_at = now
        if estimate or result.step % 10 == 0 or now - self.last_line_at > _SECONDS_BETWEEN_LINES:
            info(f"step {result.step}  {result.phase}  loss {result.loss:.3f}" + (f"  {estimate}" if estimate else ""))
            self.last_line_at = now
        if estimate and self.time_left.remaining_seconds(result.step) > _LONG_SECONDS:
            info("for a quick look take fewer steps (--steps 10), or the small model (--config demo)")
