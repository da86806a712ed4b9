"""A new run that goes on from a checkpoint of another one, which stays as it is."""

import json
from pathlib import Path

from hifitse.checkpoint.file import Checkpoint, fsync_path
from hifitse.runs.run import Run, link_or_copy, write_text


def fork(source: Run, file: Path, checkpoint: Checkpoint, target: Run) -> None:
    """Give a new run the checkpoint in ``file``, the history of its run up to there, and a note of its origin.

    The file is linked where the file system can, so it takes no space.
    """
    step = checkpoint.header.step
    copy = target.checkpoint_path(step)
    is_own = source.owns(checkpoint)
    if is_own:
        for exam_step in source.exam_steps():
            if exam_step <= step:
                target.write_exam(exam_step, source.read_exam(exam_step))
        # Written as a whole: a fork that was killed may be repeated.
        target.write_metrics([row for row in source.read_metrics() if row["step"] <= step])
    origin = {"source": str(source.path if is_own else file), "step": step, "digest": checkpoint.digest}
    write_text(target.origin_path, json.dumps(origin, indent=2) + "\n")
    temporary = copy.with_name(f".{copy.name}.tmp")
    link_or_copy(file, temporary)
    temporary.replace(copy)
    fsync_path(copy.parent)
