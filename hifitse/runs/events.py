"""What happened to a run, in the order of time: events.jsonl. Unlike the metrics log it is never rewritten."""

import datetime
from collections.abc import Callable
from typing import Any

from hifitse.runs.run import Run
from hifitse.json_log import JsonLog, Row

_WARNINGS = (
    *("sick", "skipped", "rollback", "save_failed", "exam_failed", "loader_failed", "retention_failed"),
    "tracking_failed",
    "on_event_failed",
)


class EventLog:
    """Writes events into the run, and tells people about them.

    Args:
        info: shows a message.
        send: gets each event, with the path of its run, but not that an event could not be sent.
    """

    def __init__(self, run: Run, info: Callable[[str], None], send: Callable[[Row], None] | None = None) -> None:
        self.run, self.log, self.info, self.send = run, JsonLog(run.events_path), info, send

    def report(self, kind: str, step: int, message: str, **details: Any) -> None:
        """Record an event and show it.

        Args:
            kind: started, resumed, finished, paused, sick (a guard found a validation unhealthy), skipped, rollback,
                save_failed, saved, exam_failed (a validation result could not be written), loader_failed,
                config_changed, restored, deleted, retention_failed, tracking_failed (a tool could not be reached) or
                on_event_failed.
            step: completed steps.
            details: further figures; not shown.
        """
        self.record(kind, step, message, **details)
        self.info(f"warning: {message}" if kind in _WARNINGS else message)

    def record(self, kind: str, step: int, message: str, **details: Any) -> None:
        """Record an event without showing it.

        These are cleaned and initialized, and stopped, interrupted and failed, which the command reports.
        """
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        event = {"time": now, "kind": kind, "step": step, "message": message, **details}
        self.log.append(event)
        if self.send and kind != "on_event_failed":
            self.send({"run": str(self.run.path.absolute()), **event})
