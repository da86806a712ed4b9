"""Abandoned lines: what a resume from an older step or a rollback has set aside, and how it is put back.

runs/demo/abandoned/01/
  line.json                             the step and digest of the checkpoint that this line continued
  config.yaml                           the configuration it was trained with
  checkpoints/  exams/  metrics.jsonl   everything after that step; after a rollback also that very checkpoint
  best.json                             what select-best had chosen, if that was on this line
"""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hifitse.errors import CheckpointError, UsageError
from hifitse.runs.run import Run, link_or_copy, write_text


@dataclass(frozen=True)
class Restored:
    """What a restore did."""

    number: str
    after_step: int
    """The last step that both lines share."""
    last_step: int
    """The newest checkpoint of the run now."""
    aside: str
    """Number of the folder that holds what was there before."""


def first_steps(run: Run) -> set[int]:
    """Return the steps of the run at which its abandoned lines began; only from there can they be put back.

    Raises:
        CheckpointError: a line cannot be read.
    """
    return {_read_line(folder)["after_step"] for folder in run.abandoned_folders() if _line_path(folder).exists()}


def new_folder(run: Run) -> Path:
    """Make the next folder of ``abandoned/``."""
    number = 1 + max((int(path.name) for path in run.abandoned_folders()), default=0)
    folder = run.abandoned_path / f"{number:02d}"
    folder.mkdir(parents=True)
    return folder


def begun_folder(run: Run, step: int) -> Path | None:
    """Return the folder in which a rollback to a step, cut off by a kill, has kept the checkpoint of that step."""
    begun = [folder for folder in run.abandoned_folders() if not _line_path(folder).exists()]
    return next((folder for folder in begun if Run(folder).checkpoint_path(step).exists()), None)


def keep_copy(run: Run, step: int, folder: Path) -> None:
    """Keep the checkpoint of a step in an abandoned folder, for it is about to be replaced."""
    link_or_copy(run.checkpoint_path(step), Run(folder).checkpoint_path(step))


def set_aside_after(run: Run, step: int, folder: Path | None = None) -> Path | None:
    """Move everything newer than a step to ``abandoned/NN/``; return that folder, or None if nothing was newer.

    Args:
        folder: the folder to use; without one, none is made when nothing is newer.
    """
    newer = [run.checkpoint_path(s) for s in run.checkpoint_steps() if s > step]
    newer += [run.exam_path(s) for s in run.exam_steps() if s > step]
    rows = run.read_metrics()
    kept = [row for row in rows if row["step"] <= step]
    if (best := run.read_best()) and best["step"] > step:
        newer.append(run.best_path)
    if not newer and len(kept) == len(rows) and folder is None:
        return None
    folder = folder or new_folder(run)
    _note_line(run, step, folder)
    Run(folder).write_metrics([row for row in rows if row["step"] > step])
    for path in newer:
        target = folder / path.relative_to(run.path)
        target.parent.mkdir(exist_ok=True)
        path.rename(target)
    run.write_metrics(kept)
    return folder


def restore(run: Run, number: str) -> Restored:
    """Put an abandoned line back, and set aside what is newer than the step at which it began.

    Restoring what was set aside gives the original back. Started again after a kill, it goes on where it was.
    The caller holds the run's lock.

    Raises:
        UsageError: there is no such line, or the checkpoint that it continues is not in place.
        CheckpointError: its notes cannot be read.
    """
    folder = _find(run, number)
    line, old = _read_line(folder), Run(folder)
    step = line["after_step"]
    if "aside" not in line or _is_in_the_way(run, old, step):
        _require_base(run, folder, line)
        line["aside"] = _set_aside(run, old, step).name
        write_text(_line_path(folder), json.dumps(line) + "\n")
    if old.metrics_path.exists():
        run.write_metrics([row for row in run.read_metrics() if row["step"] <= step] + old.read_metrics())
        old.metrics_path.unlink()
    steps = old.checkpoint_steps()
    moved = [old.checkpoint_path(s) for s in steps] + [old.exam_path(s) for s in old.exam_steps()]
    for path in [*moved, old.config_path, old.best_path]:
        if path.exists():
            target = run.path / path.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)
    # Last of all: until it is gone, a restore that was killed goes on.
    _line_path(folder).unlink()
    for empty in (folder / "checkpoints", folder / "exams", folder):
        if empty.is_dir() and not any(empty.iterdir()):
            empty.rmdir()
    return Restored(folder.name, step, max(run.checkpoint_steps(), default=0), line["aside"])


def _note_line(run: Run, step: int, folder: Path) -> None:
    """Note in an abandoned folder which checkpoint its line continued, and with which configuration."""
    # After a rollback the run's own checkpoint of that step is another one already; the copy is that of the line.
    base = _base(Run(folder), step) or _base(run, step)
    write_text(_line_path(folder), json.dumps({"after_step": step, "digest": base[0] if base else None}) + "\n")
    if run.config_path.exists():
        shutil.copyfile(run.config_path, Run(folder).config_path)


def _is_in_the_way(run: Run, old: Run, step: int) -> bool:
    """Tell whether the run was trained since a restore was killed, so that going on would overwrite something."""
    files = [run.checkpoint_path(s) for s in old.checkpoint_steps() if s > step]
    files += [run.exam_path(s) for s in old.exam_steps() if s > step]
    rows = run.read_metrics() if old.metrics_path.exists() else []
    return any(file.exists() for file in files) or any(row["step"] > step for row in rows)


def _set_aside(run: Run, old: Run, step: int) -> Path:
    """Set aside whatever of the run the line ``old`` is going to replace."""
    aside = new_folder(run)
    if old.checkpoint_path(step).exists():
        keep_copy(run, step, aside)
    set_aside_after(run, step, aside)
    if old.best_path.exists() and run.best_path.exists():
        run.best_path.rename(Run(aside).best_path)
    return aside


def _find(run: Run, number: str) -> Path:
    known = run.abandoned_folders()
    for folder in known:
        if number.isdecimal() and int(number) == int(folder.name):
            if _line_path(folder).exists():
                return folder
            raise UsageError(
                f"{folder}: not a whole line, there is no line.json; "
                "go on from one of its checkpoints with hifitse resume --from FILE --as NAME"
            )
    listed = f"there are {', '.join(folder.name for folder in known)}" if known else "the run has none"
    raise UsageError(f"{run.abandoned_path}: no abandoned line {number}; {listed}")


def _require_base(run: Run, folder: Path, line: dict[str, Any]) -> None:
    """Raise UsageError unless the run's checkpoint of the step at which a line began is the one that it continues.

    A line that brings that checkpoint along, after a rollback, fits where the one in place descends from it, or
    the other way round.
    """
    step, digest = line["after_step"], line["digest"]
    if digest is None:
        return
    places = (run.path, *run.abandoned_folders())
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
    where = [place for place in run.abandoned_folders() if place != folder and fits(place)]
    remedy = f"it is in {where[0]}: restore that one first" if where else "it is missing or damaged"
    raise UsageError(f"{folder}: continues another checkpoint of step {step} than the one in place; {remedy}")


def _base(run: Run, step: int) -> tuple[str, str | None] | None:
    """Return the digest of a step's checkpoint and that of its parent, or None if it is missing or damaged."""
    from hifitse.checkpoint import file as checkpoints

    try:
        header, digest = checkpoints.load_header(run.checkpoint_path(step))
    except CheckpointError:
        return None
    return digest, header.parent


def _ancestry(digest: str | None, parents: dict[str, str | None]) -> Iterator[str]:
    while digest is not None:
        yield digest
        digest = parents.get(digest)


def _read_line(folder: Path) -> dict[str, Any]:
    try:
        line: dict[str, Any] = json.loads(_line_path(folder).read_text())
        line["after_step"], line["digest"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{_line_path(folder)}: unreadable ({error}); mend it") from error
    return line


def _line_path(folder: Path) -> Path:
    return folder / "line.json"
