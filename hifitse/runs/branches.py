"""Branches: what a resume from an older step or a rollback leaves is archived, and can be restored (`restore`).

runs/demo/abandoned/01/
  branch.json                           the step and digest of the checkpoint that this branch continued
  config.yaml                           the configuration it was trained with
  checkpoints/  validation/  metrics.jsonl   everything after that step; after a rollback also that very checkpoint
  best.json                             what select-best had chosen, if that was on this branch

The note, branch.json, is there first, and calls the archive unfinished until all has been moved into it. Every move
may be repeated: what a kill has cut off is finished by whoever archives after that step next.
"""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from hifitse.errors import CheckpointError, UsageError
from hifitse.runs.records import Record, Step, read_best, read_metrics, read_record, write_metrics, write_record
from hifitse.runs.run import Run
from hifitse.storage import copy, link_or_copy, remove_folder


class Branch(Record):
    """branch.json (line.json in older runs): where an archived branch began."""

    after_step: Step
    """The last step that it shares with the branch in place."""
    digest: str | None
    """Of the checkpoint of that step; None: it began with fresh weights."""
    aside: Annotated[str, Field(pattern=r"^[0-9]+$")] | None = None
    """While it is being restored: the number of the archive of what was in place before."""
    unfinished: bool = False
    """While it is being archived: some of it may still be in place."""


def branch_points(run: Run) -> set[int]:
    """Return the steps of the run at which its archived branches began; only from there can they be restored.

    Raises:
        RecordError: a branch cannot be read.
    """
    return {note.after_step for note in _notes(run).values()}


def new_folder(run: Run) -> Path:
    """Make the next folder of ``abandoned/``."""
    known = run.archived_folders()
    if known and not any(known[-1].iterdir()):
        # Of a process that was killed before it wrote into it.
        return known[-1]
    folder = run.archive_path / f"{1 + int(known[-1].name if known else 0):02d}"
    folder.mkdir(parents=True)
    return folder


def begun_folder(run: Run, step: int) -> Path | None:
    """Return the folder in which a rollback to a step, cut off by a kill, has kept the checkpoint of that step."""
    notes = _notes(run)
    begun = [folder for folder in run.archived_folders() if folder not in notes or is_open(folder, step)]
    return next((folder for folder in begun if Run(folder).checkpoint_path(step).exists()), None)


def archive_copy(run: Run, step: int, folder: Path) -> None:
    """Keep the checkpoint of a step in an archive folder, for it is about to be replaced."""
    link_or_copy(run.checkpoint_path(step), Run(folder).checkpoint_path(step))


def archive_after(run: Run, step: int, folder: Path | None = None) -> Path | None:
    """Move everything newer than a step to ``abandoned/NN/``; return that folder, or None if there was nothing.

    Rows alone are no branch: nothing could go on from it, and their steps are done again.

    Args:
        folder: the folder to use; without one, that of an archive after this step which was cut off by a kill, or
            else a new one.

    Raises:
        UsageError: a restore was cut off by a kill, and has to be finished first.
    """
    require_none_restored(run)
    folder = folder or open_folder(run, step)
    for other, note in _notes(run).items():
        if other != folder and note.unfinished:
            # The run went on otherwise meanwhile: what was moved into it so far is what it is.
            if list(other.iterdir()) == [note_path(other)]:
                remove_folder(other)
            else:
                write_note(other, note, unfinished=False)
    newer = [other for other in (*run.checkpoint_steps(), *run.validation_steps()) if other > step]
    best = read_best(run)
    if not (folder or newer or (best and best.step > step)):
        rows = read_metrics(run)
        if len(kept := [row for row in rows if row.step <= step]) < len(rows):
            write_metrics(run, kept)
        return None
    folder = begin_archive(run, step, folder)
    finish_archive(run, step, folder)
    return folder


def begin_archive(run: Run, step: int, folder: Path | None = None) -> Path:
    """Write the note of an archive after a step, into that folder or a new one, and return the folder."""
    folder = folder or new_folder(run)
    if not is_open(folder, step):
        # After a rollback the run's own checkpoint of that step is another one already; the copy is that of the branch.
        base = base_of(Run(folder), step) or base_of(run, step)
        write_note(folder, Branch(after_step=step, digest=base[0] if base else None), unfinished=True)
    return folder


def finish_archive(run: Run, step: int, folder: Path, replaced_by: Run | None = None) -> None:
    """Move everything newer than a step into an archive folder that was begun; may be repeated.

    Args:
        replaced_by: the branch that comes in its place, and may bring a checkpoint of that step and a best of its own.
    """
    archived = Run(folder)
    if replaced_by and replaced_by.checkpoint_path(step).exists():
        archive_copy(run, step, folder)
    if run.config_path.exists() and not archived.config_path.exists():
        copy(run.config_path, archived.config_path)
    rows = read_metrics(run)
    newer = [row for row in rows if row.step > step]
    if newer or not archived.metrics_path.exists():
        # Before they are cut off: a kill in between leaves them in both places.
        write_metrics(archived, newer)
    checkpoints, validations = run.checkpoint_steps(), run.validation_steps()
    # Checkpoints first, the newest last: until it is moved, a resume begins there, and judges what the guards judged.
    move(run, archived, [s for s in checkpoints if s > step], [s for s in validations if s > step])
    best = read_best(run)
    if best and (best.step > step or (replaced_by and replaced_by.best_path.exists())):
        run.best_path.replace(archived.best_path)
    if newer:
        write_metrics(run, [row for row in rows if row.step <= step])
    write_note(folder, read_note(folder), unfinished=False)


def move(source: Run, target: Run, checkpoints: list[int], validations: list[int]) -> None:
    """Move the checkpoints and validation results of these steps, in this order."""
    paths = [(source.checkpoint_path(step), target.checkpoint_path(step)) for step in checkpoints]
    paths += [(source.validation_path(step), target.validation_path(step)) for step in validations]
    for old, new in paths:
        new.parent.mkdir(exist_ok=True)
        old.replace(new)


def base_of(run: Run, step: int) -> tuple[str, str | None] | None:
    """Return the digest of a step's checkpoint and that of its parent, or None if it is missing or damaged."""
    from hifitse.checkpoint.file import load_header

    try:
        header, digest = load_header(run.checkpoint_path(step))
    except CheckpointError:
        return None
    return digest, header.parent


def require_none_restored(run: Run) -> None:
    """Raise UsageError if a restore was cut off by a kill: what is in place is a part of either branch."""
    for folder, note in _notes(run).items():
        if note.aside:
            raise UsageError(
                f"{folder}: its restore was cut off; finish it with hifitse runs restore --run {run.argument} "
                f"{folder.name}"
            )


def open_folder(run: Run, step: int) -> Path | None:
    """Return the folder of an archive after a step that a kill has cut off, if there is one."""
    return next((folder for folder in run.archived_folders() if is_open(folder, step)), None)


def is_open(folder: Path, step: int) -> bool:
    """Tell whether an archive after a step was begun in a folder and not finished."""
    if not note_path(folder).exists():
        return False
    note = read_note(folder)
    return note.unfinished and note.after_step == step


def read_note(folder: Path) -> Branch:
    """Return the note of an archive; raises RecordError if it cannot be read."""
    return read_record(note_path(folder), Branch, f"repair it, or move {folder} out of the run")


def write_note(folder: Path, note: Branch, **changes: bool | str) -> None:
    """Replace the note of an archive by one with these changes."""
    write_record(note_path(folder), note.model_copy(update=changes))


def note_path(folder: Path) -> Path:
    older = folder / "line.json"
    return older if older.exists() else folder / "branch.json"


def _notes(run: Run) -> dict[Path, Branch]:
    return {folder: read_note(folder) for folder in run.archived_folders() if note_path(folder).exists()}
