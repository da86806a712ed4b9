"""The log of a training: metrics.jsonl for machines, TensorBoard for eyes."""

from typing import Any

from torch.utils.tensorboard import SummaryWriter

from hifitse.runs import Run
from hifitse.validation import Exam


class MetricsLog:
    """Appends rows to both logs. TensorBoard events after ``step`` (of an abandoned line) are purged."""

    def __init__(self, run: Run, step: int) -> None:
        self.run = run
        self.writer = SummaryWriter(run.path / "tensorboard", purge_step=step + 1)

    def step(self, row: dict[str, Any]) -> None:
        self.run.append_metrics({"kind": "step", **row})
        numbers = {name: value for name, value in row.items() if isinstance(value, int | float) and name != "step"}
        for name, value in (numbers | row["terms"]).items():
            self.writer.add_scalar(f"train/{name}", value, row["step"])

    def exam(self, exam: Exam) -> None:
        self.run.append_metrics({"kind": "exam", "step": exam.step, "metrics": exam.metrics, "raw": exam.raw_metrics})
        for group, metrics in (("exam", exam.metrics), ("exam_raw", exam.raw_metrics)):
            for name, value in metrics.items():
                self.writer.add_scalar(f"{group}/{name}", value, exam.step)
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()
