"""A new run that goes on from a checkpoint of another one, which stays as it is."""

from pathlib import Path

from hifitse.checkpoint.file import Checkpoint
from hifitse.runs.checkpoint_ref import owns
from hifitse.runs.records import Origin, read_metrics, write_metrics
from hifitse.runs.run import Run
from hifitse.storage import link_or_copy, write_json


def fork(source: Run, file: Path, checkpoint: Checkpoint, target: Run) -> None:
    """Give a new run the checkpoint in ``file``, the history of its run up to there, and a note of its origin.

    The file is linked where the file system can, so it takes no space. A fork that was killed may be repeated.
    """
    step = checkpoint.header.step
    is_own = owns(source, checkpoint)
    if is_own:
        for validated in source.validation_steps():
            if validated <= step:
                link_or_copy(source.validation_path(validated), target.validation_path(validated))
        write_metrics(target, [row for row in read_metrics(source) if row.step <= step])
    origin = Origin(source=str(source.path if is_own else file), step=step, digest=checkpoint.digest)
    write_json(target.origin_path, origin.model_dump())
    # Last of all: it is what makes the run exist.
    link_or_copy(file, target.checkpoint_path(step))
