"""Putting an archived branch back; what it replaces is archived in turn.

A restore is decided by one rename, that of the branch's note which names the archive of what it replaces. All that
follows may be repeated, so what a kill has cut off is finished by the same command.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hifitse.errors import UsageError
from hifitse.runs.branches import (
    Branch,
    base_of,
    begin_archive,
    finish_archive,
    is_open,
    move,
    note_path,
    open_folder,
    read_note,
    require_none_restored,
    write_note,
)
from hifitse.runs.records import read_metrics, write_metrics
from hifitse.runs.run import Run
from hifitse.storage import remove_folder


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


def restore(run: Run, number: str, tell: Callable[[Restored], None] = lambda _: None) -> Restored:
    """Put an archived branch back, and archive what is newer than the step at which it began.

    Restoring what was archived gives the original back. Started again after a kill, it goes on where it was.
    The caller holds the run's lock.

    Args:
        tell: called when all is in place, before the restore is over for good.

    Raises:
        UsageError: there is no such branch, or the checkpoint that it continues is not in place.
        RecordError: its note cannot be read.
    """
    folder = find_branch(run, number)
    archived = Run(folder)
    if is_open(folder, step := read_note(folder).after_step):
        finish_archive(run, step, folder)
    branch = read_note(folder)
    if branch.aside is None:
        require_none_restored(run)
        _require_base(run, folder, branch)
        aside = begin_archive(run, step, open_folder(run, step))
        write_note(folder, branch, aside=aside.name)
    else:
        aside = run.archive_path / branch.aside
    if is_open(aside, step):
        finish_archive(run, step, aside, replaced_by=archived)
    if archived.metrics_path.exists():
        kept = [row for row in read_metrics(run) if row.step <= step]
        write_metrics(run, [*kept, *read_metrics(archived)])
        archived.metrics_path.unlink()
    move(archived, run, archived.checkpoint_steps(), archived.validation_steps())
    for source, target in ((archived.config_path, run.config_path), (archived.best_path, run.best_path)):
        if source.exists():
            source.replace(target)
    done = Restored(folder.name, step, max(run.checkpoint_steps(), default=0), aside.name)
    tell(done)
    _remove(folder)
    return done


def find_branch(run: Run, number: str) -> Path:
    """Return the folder of an archived branch.

    Raises:
        UsageError: there is none of that number.
    """
    known = run.archived_folders()
    for folder in known:
        if number.isdecimal() and number.lstrip("0") == folder.name.lstrip("0"):
            if note_path(folder).exists():
                return folder
            raise UsageError(
                f"{folder}: not a whole branch, there is no branch.json; "
                "go on from one of its checkpoints with hifitse resume --from FILE --as NAME"
            )
    listed = f"there are {', '.join(folder.name for folder in known)}" if known else "the run has none"
    raise UsageError(f"{run.archive_path}: no archived branch {number}; {listed}")


def _remove(folder: Path) -> None:
    """Remove the folder of a branch that is in place; what is not ours in it stays."""
    note = note_path(folder)
    if any(file != note and (file.is_symlink() or not file.is_dir()) for file in folder.rglob("*")):
        note.unlink()
    else:
        remove_folder(folder)


def _require_base(run: Run, folder: Path, branch: Branch) -> None:
    """Raise UsageError unless the run's checkpoint of the step at which a branch began is the one that it continues.

    A branch that brings that checkpoint along, after a rollback, fits where the one in place descends from it, or
    the other way round.
    """
    step, digest = branch.after_step, branch.digest
    if digest is None:
        return
    places = (run.path, *run.archived_folders())
    bases = {place: base for place in places if (base := base_of(Run(place), step))}
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


def _ancestry(digest: str | None, parents: dict[str, str | None]) -> Iterator[str]:
    seen: set[str] = set()
    while digest is not None and digest not in seen:
        yield digest
        seen.add(digest)
        digest = parents.get(digest)
