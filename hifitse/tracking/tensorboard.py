"""TensorBoard's log of a run. It only shows what metrics.jsonl says: what a full disk does not take is not shown.

TensorBoard's own writer would end the training there: it writes in a thread of its own, which dies with a traceback.
"""

import contextlib
import io
import time
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from hifitse.storage import append_bytes


class TensorBoardLog:
    """Shows figures by step. Those after the step that it begins at, of an archived branch, are purged."""

    def __init__(self, folder: Path, step: int) -> None:
        self.path = folder / f"events.out.tfevents.{time.time():.6f}"
        self.opening = [Event(file_version="brain.Event:2"), Event(step=step + 1, session_log=SessionLog(status=1))]

    def show(self, step: int, values: dict[str, float]) -> None:
        summary = Summary(value=[Summary.Value(tag=name, simple_value=value) for name, value in values.items()])
        records = io.BytesIO()
        for event in [*self.opening, Event(wall_time=time.time(), step=step, summary=summary)]:
            RecordWriter(records).write(event.SerializeToString())
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(exist_ok=True)
            append_bytes(self.path, records.getvalue())
            self.opening = []
