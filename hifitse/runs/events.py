"""What happened to a run, in the order of time: events.jsonl. Unlike the metrics log it is never rewritten."""

import datetime
from collections.abc import Callable
from typing import Any

from hifitse.runs.jsonl import Journal
from hifitse.runs.run import Run

_WARNINGS = ("sick", "skipped", "rollback", "save_failed", "exam_failed", "retention_failed")


class Events:
    """Writes events into the run, and tells people about them."""

    def __init__(self, run: Run, tell: Callable[[str], None]) -> None:
        self.journal, self.tell = Journal(run.events_path), tell

    def add(self, kind: str, step: int, message: str, **details: Any) -> None:
        """Note an event and tell it.

        Args:
            kind: started, resumed, finished, paused, sick, skipped, rollback, save_failed, saved, exam_failed,
                config_changed, restored, deleted or retention_failed.
            step: completed steps.
            details: further figures; not told.
        """
        self.note(kind, step, message, **details)
        self.tell(f"warning: {message}" if kind in _WARNINGS else message)

    def note(self, kind: str, step: int, message: str, **details: Any) -> None:
        """Note an event without telling it: cleaned, or stopped, interrupted and failed, which the command tells."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self.journal.append({"time": now, "kind": kind, "step": step, "message": message, **details})
