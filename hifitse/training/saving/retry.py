"""When to try again what cannot be written, and when to give up: in times, since people free disks in theirs."""

import time

LONGEST_PAUSE = 600.0
"""Seconds. Pauses double from 1 up to this."""
LAST_PAUSES = (1.0, 2.0, 4.0)
"""Seconds between the attempts at the end: a job that has to end has half a minute."""


class Retry:
    """Failed attempts in a row to write one kind of thing."""

    def __init__(self, limit_minutes: float) -> None:
        self.limit_minutes = limit_minutes
        self.num_failed = 0
        self.reason = ""
        """Why the last of them failed."""
        self._first_at = self._next_at = 0.0

    @property
    def is_due(self) -> bool:
        """Whether it is time for an attempt."""
        return not self.num_failed or time.monotonic() >= self._next_at

    @property
    def is_over(self) -> bool:
        """Whether attempts have failed for as long as they may."""
        return self.num_failed > 0 and time.monotonic() >= self._first_at + 60 * self.limit_minutes

    def failed(self, reason: str) -> str:
        """Note a failed attempt, and return it in words."""
        now = time.monotonic()
        if not self.num_failed:
            self._first_at = now
        self.num_failed, self.reason = self.num_failed + 1, reason
        self._next_at = now + min(2.0 ** (self.num_failed - 1), LONGEST_PAUSE)
        limit = f"the run ends when this has lasted {self.limit_minutes:g} min (train.save_minutes)"
        return f"(attempt {self.num_failed}; {limit}): {reason}"

    def succeeded(self) -> None:
        self.num_failed = 0
