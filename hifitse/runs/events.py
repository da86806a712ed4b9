"""What happened to a run, in the order of time: events.jsonl. Unlike the metrics log it is never rewritten."""

import datetime
from collections.abc import Callable
from typing import Any

from hifitse.runs.run import Run
from hifitse.storage import JsonLog

_WARNINGS = (
    *("sick", "skipped", "rollback", "save_failed", "exam_failed", "loader_failed", "retention_failed"),
    "tracking_failed",
)


class EventLog:
    """Writes events into the run, and tells people about them."""

    def __init__(self, run: Run, info: Callable[[str], None]) -> None:
        self.log, self.info = JsonLog(run.events_path), info

    def report(self, kind: str, step: int, message: str, **details: Any) -> None:
        """Record an event and show it.

        Args:
            kind: started, resumed, finished, paused, sick (a guard found a validation unhealthy), skipped, rollback,
                save_failed, saved, exam_failed (a validation result could not be written), loader_failed,
                config_changed, restored, deleted, retention_failed or tracking_failed (a tool could not be told).
            step: completed steps.
            details: further figures; not shown.
        """
        self.record(kind, step, message, **details)
        self.info(f"warning: {message}" if kind in _WARNINGS else message)

    def record(self, kind: str, step: int, message: str, **details: Any) -> None:
        """Record an event without showing it: cleaned, initialized; stopped, interrupted and failed, which the command reports."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self.log.append({"time": now, "kind": kind, "step": step, "message": message, **details})
