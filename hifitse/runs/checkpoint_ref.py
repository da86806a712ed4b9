"""``--from STEP|last|best|FILE``: read once, here."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hifitse.errors import CheckpointError, UsageError
from hifitse.runs.records import read_best
from hifitse.runs.run import Run

if TYPE_CHECKING:
    from hifitse.checkpoint.file import Checkpoint

_MOST_DIGITS = 20


@dataclass(frozen=True)
class CheckpointRef:
    """A checkpoint as people name it: by its step, as ``last`` or ``best``, or by its file."""

    text: str
    """As it was typed."""

    @property
    def step(self) -> int | None:
        return int(self.text) if self._is_number else None

    @property
    def _is_number(self) -> bool:
        return self.text.isdecimal() and len(self.text) <= _MOST_DIGITS

    @property
    def file(self) -> Path | None:
        """The file, whether it exists or not."""
        is_name = self.text in ("last", "best") or self._is_number
        return None if is_name else Path(self.text)

    def path(self, run: Run) -> Path:
        """Return the path of the checkpoint; of ``last`` that of the newest, valid or not.

        Raises:
            UsageError: there is none; the message lists those that exist.
        """
        if self.file is not None:
            if self.file.is_file():
                return self.file
            raise UsageError(f"--from {self.text}: neither a step, nor last or best, nor a checkpoint file")
        run.require()
        if self.text == "best":
            if not (best := read_best(run)):
                raise UsageError(
                    f"{run.path}: no best checkpoint chosen yet; run hifitse select-best --run {run.argument}"
                )
            return run.average_path(best.average) if best.average else run.checkpoint_path(best.step)
        steps = run.checkpoint_steps()
        step = steps[-1] if self.step is None else self.step
        if step in steps:
            return run.checkpoint_path(step)
        near = sorted(sorted(steps, key=lambda other: abs(other - step))[:5])
        raise UsageError(f"{run.path}: no checkpoint at step {step}; nearest: {', '.join(map(str, near))}")

    def load(self, run: Run) -> "tuple[Checkpoint, list[str]]":
        """Load the checkpoint; ``last`` means the newest valid one. Also return why newer ones were skipped.

        Raises:
            UsageError: there is none.
            CheckpointError: it is damaged, or of ``last`` all are.
        """
        from hifitse.checkpoint.file import load_checkpoint

        if self.text != "last":
            return load_checkpoint(self.path(run)), []
        run.require()
        skipped: list[str] = []
        for step in reversed(run.checkpoint_steps()):
            try:
                return load_checkpoint(run.checkpoint_path(step)), skipped
            except CheckpointError as error:
                skipped.append(str(error))
        raise CheckpointError(f"{run.path}: no valid checkpoint left: {skipped[0]}")


def owns(run: Run, checkpoint: "Checkpoint") -> bool:
    """Tell whether a checkpoint is the one that a run has at its step."""
    from hifitse.checkpoint.file import load_header

    path = run.checkpoint_path(checkpoint.header.step)
    return path.exists() and load_header(path)[1] == checkpoint.digest
