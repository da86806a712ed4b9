"""What happened to a run, in the order of time: events.jsonl. Unlike the metrics log it is never rewritten."""

import datetime
from collections.abc import Callable
from typing import Any

from hifitse.journal import Journal
from hifitse.runs import Run


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
        self.tell(message)

    def add_end(self, kind: str, step: int, message: str, **details: Any) -> None:
        """Note an event that ends the command: stopped, interrupted or failed. The command itself tells it."""
        self.note(kind, step, message, **details)

    def note(self, kind: str, step: int, message: str, **details: Any) -> None:
        """Note an event without telling it: cleaned."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self.journal.append({"time": now, "kind": kind, "step": step, "message": message, **details})
