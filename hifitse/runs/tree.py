"""Which run was forked from which: a forest of runs, each fork under its origin."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

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
    """Return for each run the listed run that it was forked from, which its origin.json names."""
    places = {summary.path.resolve(): summary.path for summary in summaries}
    parents: dict[Path, Path | None] = {}
    for summary in summaries:
        parent = places.get(Path(summary.origin.source).resolve()) if summary.origin else None
        ancestor = parent
        # Records that contradict each other must not hide a run.
        while ancestor is not None and ancestor != summary.path:
            ancestor = parents.get(ancestor)
        parents[summary.path] = None if ancestor == summary.path else parent
    return parents
