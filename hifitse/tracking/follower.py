"""Brings a tool up to date with metrics.jsonl, in a thread of its own: the training never waits for it."""

import threading
from collections import deque
from collections.abc import Callable

from hifitse import json_log
from hifitse.errors import reason
from hifitse.tracking.protocol import TrackedRun, Tracker
from hifitse.tracking.rows import Figures, figures
from hifitse.tracking.scenes import HeardScene, media
from hifitse.tracking.sent import Sent

POLL_SECONDS = 1.0
RETRY_SECONDS = 60.0
_MOST_ROWS = 1000
"""That are sent at once."""
_MOST_CHARACTERS = 200
"""Of a message: some libraries tell stories."""


class Follower:
    """The thread. What fails is reported once and tried again until the end, from what was noted as sent."""

    def __init__(self, kind: str, num_scenes: int, connect: Callable[[], Tracker], run: TrackedRun) -> None:
        self.kind, self.num_scenes, self.connect, self.run = kind, num_scenes, connect, run
        self.trouble: str | None = None
        """Why it failed for the first time."""
        self._heard: deque[tuple[int, list[HeardScene]]] = deque(maxlen=8)
        """Scenes to be shown, with their steps; older ones give way."""
        self._ending, self._given_up = threading.Event(), False
        self._thread = threading.Thread(target=self._run, name=kind, daemon=True)
        self._thread.start()

    def hear(self, step: int, scenes: list[HeardScene]) -> None:
        """Show the scenes of a validation soon."""
        if self.num_scenes:
            self._heard.append((step, scenes[: self.num_scenes]))

    def end(self) -> None:
        """Send the rest and end; does not wait for it."""
        self._ending.set()

    def wait(self, seconds: float) -> None:
        """Wait until it has ended, or give it up: what it has not sent, the next training of the run sends."""
        self._thread.join(max(0.0, seconds))
        if self._thread.is_alive():
            self._given_up = True
            self.trouble = self.trouble or "is slow; the next training of the run sends the rest"

    def _run(self) -> None:
        is_last = False
        while not is_last:
            is_last = self._ending.is_set()
            try:
                return self._follow()
            except Exception as error:
                # Whatever a library of others raises.
                said = str(reason(error)).strip().splitlines() or [type(error).__name__]
                self.trouble = self.trouble or f"{said[0][:_MOST_CHARACTERS]}; it is tried again"
            self._ending.wait(RETRY_SECONDS)

    def _follow(self) -> None:
        """Send what the tool lacks, and what comes, until the end."""
        sent = Sent(self.run.folder / self.kind / "sent.jsonl")
        rows, offset = self._read(0)
        tracker = self.connect()
        rows = rows[self._start(tracker, sent, rows) :]
        with_inputs = True
        while True:
            is_last = self._ending.is_set()
            if is_last:
                # Those that were written before the end was reported.
                newest, offset = self._read(offset)
                rows += newest
            while self._heard:
                step, scenes = self._heard.popleft()
                sample_rate = self.run.config.audio.sample_rate
                tracker.show(media(step, scenes, sample_rate, with_inputs=with_inputs))
                with_inputs = False
            for first in range(0, len(rows), _MOST_ROWS):
                batch = rows[first : first + _MOST_ROWS]
                tracker.log(batch)
                if self._given_up:
                    return
                sent.add(batch)
            if is_last:
                tracker.close()
                return None if self._given_up else sent.close()
            self._ending.wait(POLL_SECONDS)
            rows, offset = self._read(offset)

    def _read(self, offset: int) -> tuple[list[Figures], int]:
        rows, offset = json_log.read_new_rows(self.run.folder / "metrics.jsonl", offset)
        return [row for row in map(figures, rows) if row], offset

    def _start(self, tracker: Tracker, sent: Sent, rows: list[Figures]) -> int:
        """Go on in the run of the tool, or begin one; return how many of the rows it has."""
        kept, forget_from = sent.kept(rows)
        if sent.head.get("name") == self.run.name and tracker.resume(sent.head["id"], forget_from):
            run_id = sent.head["id"]
        else:
            run_id, kept = tracker.begin(), 0
        sent.begin(self.run.name, run_id, kept)
        return kept
