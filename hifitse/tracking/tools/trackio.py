"""trackio: a database on this machine, in TRACKIO_DIR.

Rows go into the database by the functions that trackio's own thread calls: they return when the rows are there, and
say it when they are not. That thread would lose what a kill cuts off, and leave out what a full disk does not take.
"""

import contextlib
import datetime
import sqlite3
import uuid
from collections.abc import Sequence
from typing import Any

import trackio
from trackio.media import TrackioMedia
from trackio.sqlite_storage import SQLiteStorage

from hifitse.config.tracking import TrackioConfig
from hifitse.tracking.protocol import TrackedRun
from hifitse.tracking.rows import Figures
from hifitse.tracking.scenes import Media


class Trackio:
    """A run in the database."""

    def __init__(self, section: TrackioConfig, run: TrackedRun) -> None:
        self.project, self.run = section.project, run
        now = datetime.datetime.now(datetime.UTC).isoformat()
        # The dashboard sorts and groups by these.
        self.config: dict[str, Any] | None = run.settings | {"_Created": now, "_Group": run.group}
        self.id = ""

    def begin(self) -> str:
        self.id = uuid.uuid4().hex
        return self.id

    def resume(self, run_id: str, forget_from: int | None) -> bool:
        self.id = run_id
        if forget_from is not None:
            path = SQLiteStorage.init_db(self.project)
            with contextlib.closing(sqlite3.connect(path, timeout=30)) as database, database:
                database.execute("DELETE FROM metrics WHERE run_id = ? AND step >= ?", (run_id, forget_from))
        return True

    def log(self, rows: Sequence[Figures]) -> None:
        self._add([row.values for row in rows], [row.step for row in rows])

    def show(self, media: Media) -> None:
        found: dict[str, TrackioMedia] = {
            tag: trackio.Audio(samples, sample_rate=media.sample_rate) for tag, samples in media.audio.items()
        }
        found |= {tag: trackio.Image(grey) for tag, grey in media.images.items()}
        for each in found.values():
            each._save(self.project, self.run.name, media.step)
        self._add([{tag: each._to_dict() for tag, each in found.items()}], [media.step])

    def close(self) -> None:
        """Nothing is left: all is written at once."""

    def _add(self, rows: list[dict[str, Any]], steps: list[int]) -> None:
        SQLiteStorage.bulk_log(self.project, self.run.name, rows, steps, config=self.config, run_id=self.id)
        self.config = None
