"""Who is one person: names that data.same_speakers declares to be, and that no person is in two sets."""

from collections.abc import Hashable, Iterable, Mapping, Sequence

from hifitse.corpus.grouping import SetName
from hifitse.corpus.sources import Source
from hifitse.errors import ConfigError

_NUM_NAMED = 3


class People:
    """The persons behind speakers' names.

    Raises:
        ConfigError: a group names nobody, or two groups name the same speaker.
    """

    def __init__(self, groups: Sequence[Sequence[str]] | None, names: Iterable[str]) -> None:
        self._are_declared = groups is not None
        self._person: dict[str, str] = {}
        known = set(names)
        for group in groups or ():
            for name in group:
                if name not in known:
                    raise ConfigError(
                        f"data.same_speakers: {name}: no such speaker; write names as `hifitse data scan --json` lists "
                        "them, with their corpus in front (vctk/p225) where several corpora have the same"
                    )
                if self._person.setdefault(name, group[0]) != group[0]:
                    raise ConfigError(f"data.same_speakers: {name}: is in two groups; make them one")

    def person(self, name: str) -> str:
        """Return the first name of the speaker's group, or the name."""
        return self._person.get(name, name)

    def require_disjoint(self, sets: Mapping[SetName, Sequence[tuple[Source, str]]]) -> None:
        """Check that nobody is in two sets.

        Args:
            sets: the corpora and names of the speakers of each.

        Raises:
            ConfigError: somebody is: declared so, in a corpus that is in both, or, where nothing is declared, by name.
        """
        seen: dict[Hashable, SetName] = {}
        for part, members in sets.items():
            here = {self._identity(source, name): name for source, name in members}
            twice = {name: seen[who] for who, name in here.items() if who in seen}
            if twice:
                names = [
                    *sorted(twice)[:_NUM_NAMED],
                    *([f"{len(twice) - _NUM_NAMED} more"] if len(twice) > _NUM_NAMED else []),
                ]
                other = "; set data.same_speakers: [] if they only have equal names" if not self._are_declared else ""
                raise ConfigError(
                    f"{part}: {len(twice)} of its speakers are in the {min(twice.values())} set, too: "
                    f"{', '.join(names)}; leave them out of one{other}"
                )
            seen |= dict.fromkeys(here, part)

    def _identity(self, source: Source, name: str) -> Hashable:
        if name in self._person:
            return self._person[name]
        return (source.path, name) if self._are_declared else name.removeprefix(f"{source.label}/")
