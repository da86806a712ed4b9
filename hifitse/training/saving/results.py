"""Validation results on their way to the disk: each is tried again, with its row, until it is there."""

import contextlib
import time

from hifitse.errors import HifitseError, Interrupted
from hifitse.evaluation.result import ValidationResult, write_result
from hifitse.json_log import JsonLog
from hifitse.runs.events import EventLog
from hifitse.runs.run import Run
from hifitse.training.saving import retry


class Results:
    """Keeps validation results in a run; a context, on leaving which all of them and all rows are in place."""

    def __init__(self, run: Run, events: EventLog, rows: JsonLog, limit_minutes: float) -> None:
        self.run, self.events, self.rows = run, events, rows
        self.retry = retry.Retry(limit_minutes)
        self.waiting: list[ValidationResult] = []
        """Not on the disk yet, oldest first."""

    def __enter__(self) -> "Results":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._attempt()
        if kind is None or issubclass(kind, Interrupted):
            self._flush()

    def add(self, result: ValidationResult) -> None:
        """Write a result now, or later."""
        self.waiting.append(result)
        if self.retry.is_due:
            self._attempt()

    def poll(self) -> None:
        """Try again, between two steps, what could not be written.

        Raises:
            HifitseError: it could not for train.save_minutes.
        """
        if self.waiting and self.retry.is_due:
            self._attempt()
        if self.waiting and self.retry.is_over:
            raise self._given_up()

    def _flush(self) -> None:
        for pause in (0.0, *retry.LAST_PAUSES):
            time.sleep(pause)
            if self.waiting:
                self._attempt()
            with contextlib.suppress(OSError):
                self.rows.flush()
                self.events.log.flush()
                break
        if self.waiting or self.rows.waiting:
            raise self._given_up()

    def _attempt(self) -> None:
        while self.waiting:
            result = self.waiting[0]
            try:
                write_result(self.run, result)
            except OSError as error:
                reason = (
                    f"{self.run.validation_path(result.step)}: {error.strerror}; free the disk or repair the folder"
                )
                said = f"the validation of step {result.step} is not saved {self.retry.failed(reason)}"
                self.events.report("exam_failed", result.step, said)
                return
            if self.retry.num_failed:
                self.events.report("saved", result.step, f"the validation of step {result.step} is saved")
            self.retry.succeeded()
            # The kind has the name of old, see `hifitse.runs.records`.
            metrics = {"metrics": result.metrics, "raw": result.model_metrics}
            if result.train_metrics is not None:
                metrics["train"] = result.train_metrics
            self.rows.append({"kind": "exam", "step": result.step, **metrics})
            del self.waiting[0]

    def _given_up(self) -> HifitseError:
        run = self.run.argument
        if not self.waiting:
            return HifitseError(
                f"{self.rows.path}: the last {len(self.rows.waiting)} rows could not be written; free the disk or "
                f"repair the folder, then: hifitse resume --run {run}"
            )
        step = self.waiting[0].step
        remedy = f"then repeat it: hifitse validate --run {run} --from {step}"
        if not self.run.checkpoint_path(step).exists():
            remedy = "its checkpoint could not be saved either, so it cannot be repeated"
        return HifitseError(
            f"the validation of step {step} could not be saved, the run ends: {self.retry.reason}; {remedy}"
        )
