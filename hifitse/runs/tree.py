"""Which run was forked from which: a forest of runs, each fork under its origin."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hifitse.runs.run import Run
from hifitse.runs.summary import Summary


@dataclass(frozen=True)
class Member:
    """A run at its place in the forest."""

    summary: Summary
    depth: int
    """0 for a run that is under no other."""
    is_last: tuple[bool, ...]
    """For each level from 1 to ``depth``: whether nothing follows there."""
    parent: Path | None
    """The listed run that it was forked from."""


def forest(summaries: Sequence[Summary]) -> list[Member]:
    """Return the runs with each fork under its origin, roots in the given order, forks by the step they began at."""
    parents = _parents(summaries)

    def below(path: Path | None) -> list[Summary]:
        found = [summary for summary in summaries if parents[summary.path] == path]
        return sorted(found, key=lambda fork: fork.origin.step if path and fork.origin else 0)

    def members(path: Path | None, is_last: tuple[bool, ...]) -> Iterator[Member]:
        found = below(path)
        for summary in found:
            place = (*is_last, summary is found[-1]) if path else ()
            yield Member(summary, len(place), place, path)
            yield from members(summary.path, place)

    return list(members(None, ()))


def _parents(summaries: Sequence[Summary]) -> dict[Path, Path | None]:
    parents: dict[Path, Path | None] = {}
    places = {summary.path.resolve(): summary for summary in summaries}
    for summary in summaries:
        parent = _parent(summary, places)
        ancestor = parent
        # Records that contradict each other must not hide a run.
        while ancestor is not None and ancestor != summary.path:
            ancestor = parents.get(ancestor)
        parents[summary.path] = None if ancestor == summary.path else parent
    return parents


def _parent(fork: Summary, places: Mapping[Path, Summary]) -> Path | None:
    """Return the listed run that a fork began from.

    By its name, if it has the checkpoint still; else whoever has trained that checkpoint (the origin was renamed, or
    its name was given to another run); else by the name alone.
    """
    if fork.origin is None:
        return None
    step, digest = fork.origin.step, fork.origin.digest

    def has_it(run: Summary) -> bool:
        return run is not fork and step in run.checkpoints and _digest(Run(run.path), step) == digest

    named = places.get(Path(fork.origin.source).resolve())
    if named and has_it(named):
        return named.path
    for run in places.values():
        inherited = run.origin is not None and run.origin.digest == digest
        if not inherited and has_it(run):
            return run.path
    return named.path if named and named is not fork else None


def _digest(run: Run, step: int) -> str | None:
    """Return what a checkpoint says its digest is; unlike `hifitse.checkpoint.file` without verifying, and at once."""
    try:
        with run.checkpoint_path(step).open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(size)) if size < 1 << 27 else {}
        return str(header["__metadata__"]["digest"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
