"""What the configured corpora hold, counted: each of them, all of them, and each set."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from hifitse.audio.recording import Recording
from hifitse.config.schema import Config
from hifitse.corpus.corpus import Corpus, Pool
from hifitse.corpus.sources import AllSources, Source, Sources, weights_of


@dataclass(frozen=True, slots=True)
class CorpusStats:
    """One corpus, or all of a kind."""

    kind: str
    """speech, noise or rir; of validation and test, with their name: test.speech."""
    path: str
    """Empty for all of a kind."""
    speakers: int
    recordings: int
    hours: float
    sample_rates: dict[int, int]
    """Rate in Hz to number of recordings."""
    weight: float | None
    """Of its entry in the configuration; None: no entry of its kind has one."""
    broken: tuple[str, ...]
    """One line for each recording that cannot be used, with the reason."""


@dataclass(frozen=True, slots=True)
class SplitStats:
    """What is for training, held out for validation, or for a test."""

    speakers: int
    recordings: int
    hours: float
    noises: int
    rirs: int
    rooms: int


def corpus_stats(config: Config, sources: AllSources) -> list[CorpusStats]:
    """Count each corpus, in the order of the configuration."""
    kinds = ("speech", "noise", "rir")
    return [
        _holding(kind, str(source.path), [source], None if weights is None else weights[source.entry])
        for kind in kinds
        for weights in [weights_of(getattr(config.data, kind))]
        for source in getattr(sources, kind)
    ] + [
        _holding(f"{section}.{kind}", str(source.path), [source], None)
        for section, own in (("validation", sources.validation), ("test", sources.test))
        for kind in kinds
        for source in getattr(own, kind)
    ]


def totals(sources: Sources) -> list[CorpusStats]:
    """Count all corpora of each kind that data has."""
    kinds = {"speech": sources.speech, "noise": sources.noise, "rir": sources.rir}
    return [_holding(kind, "", found, None) for kind, found in kinds.items() if found]


def split_stats(corpus: Corpus) -> dict[str, SplitStats]:
    """Count each set."""
    return {name: _part(pool) for name, pool in corpus.pools.items()}


def _holding(kind: str, path: str, sources: list[Source], weight: float | None) -> CorpusStats:
    recordings = [recording for source in sources for recording in source.recordings]
    return CorpusStats(
        kind=kind,
        path=path,
        speakers=sum(len(source.speakers) for source in sources),
        recordings=len(recordings),
        hours=_hours(recordings),
        sample_rates=dict(sorted(Counter(recording.sample_rate for recording in recordings).items())),
        weight=weight,
        broken=tuple(problem for source in sources for problem in source.problems),
    )


def _part(pool: Pool) -> SplitStats:
    recordings = [recording for speaker in pool.speakers for recording in speaker.recordings]
    return SplitStats(
        speakers=len(pool.speakers),
        recordings=len(recordings),
        hours=_hours(recordings),
        noises=len(pool.noises),
        rirs=len(pool.rirs),
        rooms=len(pool.rooms),
    )


def _hours(recordings: Iterable[Recording]) -> float:
    return sum(recording.seconds for recording in recordings) / 3600
