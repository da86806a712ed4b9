"""A new run that goes on from a checkpoint of another one, which stays as it is."""

import shutil
from pathlib import Path

from hifitse.checkpoint.file import Checkpoint
from hifitse.config.files import write_config
from hifitse.config.schema import Config
from hifitse.errors import UsageError
from hifitse.runs.checkpoint_ref import owns
from hifitse.runs.records import Origin, read_metrics, write_metrics, write_record
from hifitse.runs.run import Run
from hifitse.storage import link_or_copy


def fork(source: Run, file: Path, checkpoint: Checkpoint, target: Run, config: Config) -> None:
    """Give a new run the checkpoint in ``file``, the history of its run up to there, and a note of its origin.

    It is built beside its place and gets its name in the end, by one rename: killed before that, it may be repeated.
    The checkpoint is linked where the file system can, so it takes no space. The caller holds the new run's lock.

    Raises:
        UsageError: something else than its lock is in the new run's folder.
    """
    if others := [path.name for path in target.path.iterdir() if path != target.lock_path]:
        raise UsageError(
            f"{target.path}: not empty ({', '.join(sorted(others)[:3])}); remove what is there, or give a new name"
        )
    being_built = Run(target.leftover_path)
    if being_built.path.exists():
        shutil.rmtree(being_built.path)
    step = checkpoint.header.step
    is_own = owns(source, checkpoint)
    if is_own:
        for validated in source.validation_steps():
            if validated <= step:
                link_or_copy(source.validation_path(validated), being_built.validation_path(validated))
        write_metrics(being_built, [row for row in read_metrics(source) if row.step <= step])
    origin = Origin(source=str(source.path if is_own else file), step=step, digest=checkpoint.digest)
    write_record(being_built.origin_path, origin)
    write_config(being_built.config_path, config)
    link_or_copy(file, being_built.checkpoint_path(step))
    # The lock stays held: it is the file, under whatever name.
    target.lock_path.rename(being_built.lock_path)
    being_built.path.rename(target.path)
