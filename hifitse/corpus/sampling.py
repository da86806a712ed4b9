"""Weighted corpora: from one uniform number to a speaker, a noise or a room."""

from bisect import bisect_left
from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CorpusSampler:
    """A corpus is drawn in proportion to its weight, then one of its items, all of them equally likely."""

    weights: tuple[float, ...]
    """One for each corpus."""
    members: tuple[tuple[int, ...], ...]
    """For each corpus, the positions of its items in the pool, ascending; none is empty."""

    def pick(self, uniform: float, taken: Collection[int] = ()) -> int:
        """Return a position in the pool that is not taken.

        Corpora that are wholly taken do not count: the weights of the others are what is compared.

        Args:
            uniform: the draw, at least 0 and below 1; its place among the weights decides on the corpus, and its
                place within that weight on the item.
            taken: positions to leave out, not all of them.
        """
        taken_ranks = [sorted(_ranks(members, taken)) for members in self.members]
        free = [len(members) - len(ranks) for members, ranks in zip(self.members, taken_ranks, strict=True)]
        place = uniform * sum(weight for weight, number in zip(self.weights, free, strict=True) if number)
        corpus = -1
        for candidate, number in enumerate(free):
            if number:
                if corpus >= 0:
                    place -= self.weights[corpus]
                corpus = candidate
                if place < self.weights[corpus]:
                    break
        rank = min(int(place / self.weights[corpus] * free[corpus]), free[corpus] - 1)
        for other in taken_ranks[corpus]:
            rank += other <= rank
        return self.members[corpus][rank]


def _ranks(members: tuple[int, ...], taken: Collection[int]) -> list[int]:
    """Return where among the members the taken ones are."""
    ranks = ((bisect_left(members, position), position) for position in taken)
    return [rank for rank, position in ranks if rank < len(members) and members[rank] == position]
