"""Where pairs come from: a list of files, or the test scenes of a configuration."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Any, Protocol

from hifitse.audio.files import Samples, read_audio
from hifitse.evaluation.test_sets.pairs import Pair, ProbedList
from hifitse.evaluation.validation import scenes_digest
from hifitse.experiment import Experiment


@dataclass(frozen=True, eq=False)
class HeardPair:
    """One pair, as waveforms (L,)."""

    number: int
    """Its place in the test set."""
    name: str
    mixture: Samples
    target: Samples | None
    """None: the speaker is absent."""
    interferers: tuple[Samples, ...]
    """What else is in the mixture, where it is known."""
    reference: Samples
    """At the model's rate, whatever that of the others is."""
    facts: dict[str, Any]
    """What else its `Sample` says."""


class Source(Protocol):
    """A test set."""

    @property
    def name(self) -> str: ...

    @property
    def layout(self) -> str:
        """What it was read as."""

    @property
    def digest(self) -> str:
        """Identifies its pairs."""

    @property
    def num_pairs(self) -> int: ...

    @property
    def sample_rate(self) -> int:
        """Of its mixtures and targets, in Hz."""

    def batches(self, num_done: int, most: int) -> Iterator[tuple[int, list[HeardPair]]]:
        """Yield what goes through a network together, up to ``most`` equally long pairs, and how many were before them.

        Args:
            num_done: batches that end within so many pairs are left out.
        """


@dataclass(frozen=True)
class ListSource:
    """A list of files, the longest pairs, which need most memory, first."""

    probed: ProbedList
    model_rate: int

    @property
    def name(self) -> str:
        return self.probed.pairs.name

    @property
    def layout(self) -> str:
        return self.probed.pairs.layout

    @property
    def digest(self) -> str:
        return self.probed.digest

    @property
    def num_pairs(self) -> int:
        return len(self.probed.lengths)

    @property
    def sample_rate(self) -> int:
        return self.probed.sample_rate

    def batches(self, num_done: int, most: int) -> Iterator[tuple[int, list[HeardPair]]]:
        lengths, before = self.probed.lengths, 0
        order = sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True)
        for _, equal in groupby(order, key=lengths.__getitem__):
            while numbers := list(islice(equal, most)):
                if before + len(numbers) > num_done:
                    yield before, [self._read(number, self.probed.pairs.pairs[number]) for number in numbers]
                before += len(numbers)

    def _read(self, number: int, pair: Pair) -> HeardPair:
        parts = [read_audio(path, self.sample_rate) for path in (pair.mixture, *pair.parts)]
        interferers = tuple(parts[len(parts) - len(pair.interferers) :])
        return HeardPair(
            number,
            pair.name,
            mixture=parts[0],
            target=None if pair.target is None else parts[1],
            interferers=interferers,
            reference=read_audio(pair.reference, self.model_rate),
            facts={"speaker": pair.speaker, "num_interferers": len(interferers) or None},
        )


@dataclass(frozen=True)
class SceneSource:
    """The test scenes of a configuration."""

    experiment: Experiment

    name = "test"
    layout = "scenes"

    @property
    def digest(self) -> str:
        return scenes_digest(self.experiment, of_test=True)

    @property
    def num_pairs(self) -> int:
        return self.experiment.config.test_set.num_scenes

    @property
    def sample_rate(self) -> int:
        return self.experiment.config.audio.sample_rate

    def batches(self, num_done: int, most: int) -> Iterator[tuple[int, list[HeardPair]]]:
        with contextlib.closing(self.experiment.test_batches()) as found:
            for batch in found:
                assert batch.interferers is not None
                mixtures, references, targets = (
                    part.numpy() for part in (batch.mixture, batch.reference, batch.target)
                )
                heard = [
                    HeardPair(
                        index,
                        f"scene_{index:05d}",
                        mixture=mixtures[i],
                        target=targets[i] if batch.present[i] else None,
                        interferers=tuple(part for part in batch.interferers[i].numpy() if part.any()),
                        reference=references[i],
                        facts=vars(batch.facts[i]),
                    )
                    for i, index in enumerate(batch.indices)
                ]
                for start in range(0, len(heard), most):
                    before, together = heard[start].number, heard[start : start + most]
                    if before + len(together) > num_done:
                        yield before, together
