"""The log of a training: metrics.jsonl for machines, TensorBoard for eyes."""

import contextlib
import io
import time
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from hifitse.evaluation.validation import Exam
from hifitse.runs.jsonl import Journal, append_bytes
from hifitse.runs.run import Run


class MetricsLog:
    """Appends rows to both logs. TensorBoard events after ``step`` (of an abandoned line) are purged."""

    def __init__(self, run: Run, step: int) -> None:
        self.rows = Journal(run.metrics_path)
        self.board = _Board(run.path / "tensorboard", step)

    def step(self, row: dict[str, Any]) -> None:
        self.rows.append({"kind": "step", **row})
        numbers = {name: value for name, value in row.items() if isinstance(value, int | float) and name != "step"}
        self.board.show(row["step"], {f"train/{name}": value for name, value in (numbers | row["terms"]).items()})

    def exam(self, exam: Exam) -> None:
        self.rows.append({"kind": "exam", "step": exam.step, "metrics": exam.metrics, "raw": exam.raw_metrics})
        self.board.show(exam.step, {f"exam/{name}": value for name, value in exam.metrics.items()})
        self.board.show(exam.step, {f"exam_raw/{name}": value for name, value in exam.raw_metrics.items()})


class _Board:
    """TensorBoard's log. It only shows what metrics.jsonl says: what a full disk does not take is not shown.

    Its own writer would end the training there: it writes in a thread of its own, which dies with a traceback.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self.path = folder / f"events.out.tfevents.{time.time():.6f}"
        # What was shown after this step is of an abandoned line.
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
