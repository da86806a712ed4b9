"""Branches: what a resume from an older step or a rollback leaves is archived, and can be restored.

runs/demo/abandoned/01/
  branch.json                           the step and digest of the checkpoint that this branch continued
  config.yaml                           the configuration it was trained with
  checkpoints/  validation/  metrics.jsonl   everything after that step; after a rollback also that very checkpoint
  best.json                             what select-best had chosen, if that was on this branch
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hifitse.errors import CheckpointError, UsageError
from hifitse.runs.records import Record, read_best, read_metrics, read_record, write_metrics
from hifitse.runs.run import Run
from hifitse.storage import link_or_copy, write_json


class Branch(Record):
    """branch.json (line.json in older runs): where an archived branch began."""

    after_step: int
    """The last step that it shares with the branch in place."""
    digest: str | None
    """Of the checkpoint of that step; None: it began with fresh weights."""
    aside: str | None = None
    """While it is being restored: the folder that holds what was in place before."""


@dataclass(frozen=True)
class Restored:
    """What a restore did."""

    number: str
    after_step: int
    """The last step that both branches share."""
    last_step: int
    """The newest checkpoint of the run now."""
    aside: str
    """Number of the folder that holds what was there before."""


def branch_points(run: Run) -> set[int]:
    """Return the steps of the run at which its archived branches began; only from there can they be restored.

    Raises:
        RecordError: a branch cannot be read.
    """
    return {_read(folder).after_step for folder in run.archived_folders() if _note_path(folder).exists()}


def new_folder(run: Run) -> Path:
    """Make the next folder of ``abandoned/``."""
    number = 1 + max((int(path.name) for path in run.archived_folders()), default=0)
    folder = run.archive_path / f"{number:02d}"
    folder.mkdir(parents=True)
    return folder


def begun_folder(run: Run, step: int) -> Path | None:
    """Return the folder in which a rollback to a step, cut off by a kill, has kept the checkpoint of that step."""
    begun = [folder for folder in run.archived_folders() if not _note_path(folder).exists()]
    return next((folder for folder in begun if Run(folder).checkpoint_path(step).exists()), None)


def archive_copy(run: Run, step: int, folder: Path) -> None:
    """Keep the checkpoint of a step in an archive folder, for it is about to be replaced."""
    link_or_copy(run.checkpoint_path(step), Run(folder).checkpoint_path(step))


def archive_after(run: Run, step: int, folder: Path | None = None) -> Path | None:
    """Move everything newer than a step to ``abandoned/NN/``; return that folder, or None if nothing was newer.

    Args:
        folder: the folder to use; without one, none is made when nothing is newer.
    """
    checkpoints = [s for s in run.checkpoint_steps() if s > step]
    validations = [s for s in run.validation_steps() if s > step]
    rows = read_metrics(run)
    kept = [row for row in rows if row.step <= step]
    best = read_best(run)
    has_best = best is not None and best.step > step
    if not (checkpoints or validations or has_best or folder) and len(kept) == len(rows):
        return None
    archived = Run(folder or new_folder(run))
    _write_note(run, step, archived)
    write_metrics(archived, [row for row in rows if row.step > step])
    _move(run, archived, checkpoints, validations)
    if has_best:
        run.best_path.rename(archived.best_path)
    write_metrics(run, kept)
    return archived.path


def restore(run: Run, number: str) -> Restored:
    """Put an archived branch back, and archive what is newer than the step at which it began.

    Restoring what was archived gives the original back. Started again after a kill, it goes on where it was.
    The caller holds the run's lock.

    Raises:
        UsageError: there is no such branch, or the checkpoint that it continues is not in place.
        RecordError: its note cannot be read.
    """
    folder = find_branch(run, number)
    branch, archived = _read(folder), Run(folder)
    step, aside = branch.after_step, branch.aside
    if aside is None or _is_in_the_way(run, archived, step):
        _require_base(run, folder, branch)
        aside = _archive_present(run, archived, step).name
        write_json(_note_path(folder), branch.model_copy(update={"aside": aside}).model_dump())
    if archived.metrics_path.exists():
        write_metrics(run, [*(row for row in read_metrics(run) if row.step <= step), *read_metrics(archived)])
        archived.metrics_path.unlink()
    _move(archived, run, archived.checkpoint_steps(), archived.validation_steps())
    for source, target in ((archived.config_path, run.config_path), (archived.best_path, run.best_path)):
        if source.exists():
            source.replace(target)
    # Last of all: until it is gone, a restore that was killed goes on.
    _note_path(folder).unlink()
    for empty in (archived.checkpoints_path, archived.validations_path, folder):
        if empty.is_dir() and not any(empty.iterdir()):
            empty.rmdir()
    return Restored(folder.name, step, max(run.checkpoint_steps(), default=0), aside)


def find_branch(run: Run, number: str) -> Path:
    """Return the folder of an archived branch.

    Raises:
        UsageError: there is none of that number.
    """
    known = run.archived_folders()
    for folder in known:
        if number.isdecimal() and int(number) == int(folder.name):
            if _note_path(folder).exists():
                return folder
            raise UsageError(
                f"{folder}: not a whole branch, there is no branch.json; "
                "go on from one of its checkpoints with hifitse resume --from FILE --as NAME"
            )
    listed = f"there are {', '.join(folder.name for folder in known)}" if known else "the run has none"
    raise UsageError(f"{run.archive_path}: no archived branch {number}; {listed}")


def _move(source: Run, target: Run, checkpoints: list[int], validations: list[int]) -> None:
    paths = [(source.checkpoint_path(step), target.checkpoint_path(step)) for step in checkpoints]
    paths += [(source.validation_path(step), target.validation_path(step)) for step in validations]
    for old, new in paths:
        new.parent.mkdir(exist_ok=True)
        old.replace(new)


def _write_note(run: Run, step: int, archived: Run) -> None:
    """Note in an archive folder which checkpoint its branch continued, and with which configuration."""
    # After a rollback the run's own checkpoint of that step is another one already; the copy is that of the branch.
    base = _base(archived, step) or _base(run, step)
    write_json(_note_path(archived.path), Branch(after_step=step, digest=base[0] if base else None).model_dump())
    if run.config_path.exists():
        shutil.copyfile(run.config_path, archived.config_path)


def _is_in_the_way(run: Run, archived: Run, step: int) -> bool:
    """Tell whether the run was trained since a restore was killed, so that going on would overwrite something."""
    files = [run.checkpoint_path(s) for s in archived.checkpoint_steps() if s > step]
    files += [run.validation_path(s) for s in archived.validation_steps() if s > step]
    rows = read_metrics(run) if archived.metrics_path.exists() else []
    return any(file.exists() for file in files) or any(row.step > step for row in rows)


def _archive_present(run: Run, archived: Run, step: int) -> Path:
    """Archive whatever of the run an archived branch is going to replace."""
    aside = new_folder(run)
    if archived.checkpoint_path(step).exists():
        archive_copy(run, step, aside)
    archive_after(run, step, aside)
    if archived.best_path.exists() and run.best_path.exists():
        run.best_path.rename(Run(aside).best_path)
    return aside


def _require_base(run: Run, folder: Path, branch: Branch) -> None:
    """Raise UsageError unless the run's checkpoint of the step at which a branch began is the one that it continues.

    A branch that brings that checkpoint along, after a rollback, fits where the one in place descends from it, or
    the other way round.
    """
    step, digest = branch.after_step, branch.digest
    if digest is None:
        return
    places = (run.path, *run.archived_folders())
    bases = {place: base for place in places if (base := _base(Run(place), step))}
    parents = dict(bases.values())

    def fits(place: Path) -> bool:
        if place not in bases:
            return False
        other, _ = bases[place]
        if folder not in bases:
            return bool(other == digest)
        return digest in _ancestry(other, parents) or other in _ancestry(digest, parents)

    if fits(run.path):
        return
    where = [place for place in run.archived_folders() if place != folder and fits(place)]
    remedy = f"it is in {where[0]}: restore that one first" if where else "it is missing or damaged"
    raise UsageError(f"{folder}: continues another checkpoint of step {step} than the one in place; {remedy}")


def _base(run: Run, step: int) -> tuple[str, str | None] | None:
    """Return the digest of a step's checkpoint and that of its parent, or None if it is missing or damaged."""
    from hifitse.checkpoint.file import load_header

    try:
        header, digest = load_header(run.checkpoint_path(step))
    except CheckpointError:
        return None
    return digest, header.parent


def _ancestry(digest: str | None, parents: dict[str, str | None]) -> Iterator[str]:
    while digest is not None:
        yield digest
        digest = parents.get(digest)


def _read(folder: Path) -> Branch:
    return read_record(_note_path(folder), Branch, "repair it")


def _note_path(folder: Path) -> Path:
    older = folder / "line.json"
    return older if older.exists() else folder / "branch.json"
