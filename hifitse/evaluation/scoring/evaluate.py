"""Evaluating a model on a test set: whole utterances, one pair after the other."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hifitse.audio.files import Samples, read_audio, resample
from hifitse.errors import UsageError
from hifitse.evaluation.scoring.rows import PairFile, PairResult
from hifitse.evaluation.test_sets.pairs import Pair, ProbedList
from hifitse.inference import Extractor
from hifitse.metrics import measure
from hifitse.perceptual.registry import PerceptualMetric, chosen, measure_perceptual
from hifitse.perceptual.signals import Signals
from hifitse.storage import locked, read_bytes

_AT_ONCE = {"cuda": 8, "cpu": 1}
"""Pairs in one batch. Only pairs of equal lengths share one: padding would be heard by the network."""


@dataclass(frozen=True)
class Evaluation:
    """A model, a list and what is measured."""

    extractor: Extractor
    probed: ProbedList
    metrics: Sequence[PerceptualMetric]
    encoder: Path | None
    """An ONNX file for the speaker similarity; None: resemblyzer's."""
    sample_rate: int
    """That figures are computed at, in Hz: that of the list, as in papers, or of the model where it is lower."""

    @classmethod
    def plan(cls, extractor: Extractor, probed: ProbedList, names: Sequence[str], encoder: Path | None) -> "Evaluation":
        """Choose what is measured, by name.

        Raises:
            UsageError: a metric is unknown, cannot be had at this rate, or needs a library that is missing.
        """
        rate = min(probed.sample_rate, extractor.sample_rate)
        return cls(extractor, probed, chosen(names, rate, encoder), encoder, rate)

    @property
    def facts(self) -> dict[str, Any]:
        """What identifies list and metrics."""
        return {
            "layout": self.probed.pairs.layout,
            "digest": self.probed.digest,
            "num_pairs": len(self.probed.pairs.pairs),
            "sample_rate": self.sample_rate,
        }

    @property
    def header(self) -> dict[str, Any]:
        """What identifies the evaluation: one that goes on has the same."""
        return {
            "model": self.extractor.digest,
            "test_set": self.probed.pairs.name,
            **self.facts,
            "metrics": [metric.name for metric in self.metrics],
            "speaker_encoder": None if self.encoder is None else hashlib.blake2b(read_bytes(self.encoder)).hexdigest(),
            "device": self.extractor.device.type,
        }

    @property
    def folder_name(self) -> str:
        """A name that no other evaluation has."""
        return (
            f"{self.probed.pairs.name}-{hashlib.blake2b(json.dumps(self.header).encode(), digest_size=4).hexdigest()}"
        )

    @property
    def described(self) -> str:
        """What is to stand below a table."""
        probed, model_rate = self.probed, self.extractor.sample_rate
        text = f"{probed.pairs.layout} {probed.pairs.name}, digest {probed.digest}, {len(probed.pairs.pairs)} pairs, "
        text += f"figures at {self.sample_rate} Hz"
        if model_rate != probed.sample_rate:
            text += f" (list {probed.sample_rate} Hz, model {model_rate} Hz)"
        return text

    def run(self, folder: Path, progress: Callable[[int, int], None]) -> list[PairResult]:
        """Measure all pairs, or those that are not yet in the folder, and return them in the order of the list.

        Raises:
            UsageError: the folder holds another evaluation, or another process writes it.
            DataError: a recording is damaged.
        """
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with locked(folder):
                return self._run(folder / "pairs.jsonl", progress)
        except BlockingIOError:
            raise UsageError(
                f"{folder}: another process evaluates into it; wait for it, or name another --output"
            ) from None

    def _run(self, path: Path, progress: Callable[[int, int], None]) -> list[PairResult]:
        file = PairFile(path, self.header)
        num_done, total = 0, len(self.probed.pairs.pairs)
        for batch in self._batches():
            num_done += len(batch)
            if num_done > len(file.done):
                file.keep(num_done - len(batch))
                file.append(self._measure(batch))
            progress(num_done, total)
        return sorted(file.done, key=lambda result: result.sample.index)

    def _batches(self) -> Iterator[list[int]]:
        """Yield the numbers of pairs that go through the network together, those that need most memory first."""
        lengths, most = self.probed.lengths, _AT_ONCE[self.extractor.device.type]
        order = sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True)
        for _, equal in groupby(order, key=lengths.__getitem__):
            while numbers := list(islice(equal, most)):
                yield numbers

    def _measure(self, numbers: Sequence[int]) -> list[PairResult]:
        pairs = [self.probed.pairs.pairs[number] for number in numbers]
        mixtures = [read_audio(pair.mixture, self.probed.sample_rate) for pair in pairs]
        estimates = self._extract(mixtures, [pair.reference for pair in pairs])
        return [
            self._result(number, pair, self._as_figures(mixture), estimate)
            for number, pair, mixture, estimate in zip(numbers, pairs, mixtures, estimates, strict=True)
        ]

    def _extract(self, mixtures: Sequence[Samples], references: Sequence[Path]) -> list[Samples]:
        """Return what the model makes of whole mixtures at the list's rate, at the rate of the figures."""
        extractor, list_rate = self.extractor, self.probed.sample_rate
        device, rate = extractor.device, extractor.sample_rate
        heard = np.stack([resample(mixture, list_rate, rate) for mixture in mixtures])
        voices = np.stack([read_audio(reference, rate) for reference in references])
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            estimates = extractor.network(torch.from_numpy(heard).to(device), torch.from_numpy(voices).to(device))
        found = estimates.float().cpu().numpy()
        return [resample(estimate, rate, self.sample_rate) for estimate in found]

    def _as_figures(self, samples: Samples) -> Samples:
        return resample(samples, self.probed.sample_rate, self.sample_rate)

    def _result(self, number: int, pair: Pair, mixture: Samples, estimate: Samples) -> PairResult:
        parts = [self._as_figures(read_audio(path, self.probed.sample_rate)) for path in pair.parts]
        target, interferers = (None, parts) if pair.target is None else (parts[0], parts[1:])
        # There and back, a rate may add a sample or two.
        estimate = estimate[: len(mixture)]
        (measured,) = measure(
            [number],
            torch.from_numpy(estimate)[None],
            torch.from_numpy(np.zeros_like(mixture) if target is None else target)[None],
            torch.from_numpy(mixture)[None],
            torch.tensor([target is not None]),
            torch.from_numpy(np.stack(interferers))[None] if interferers else None,
        )
        num_interferers = len(interferers) if interferers else None
        sample = replace(measured, speaker=pair.speaker, num_interferers=num_interferers)
        if target is None:
            return PairResult(pair.name, sample, {}, ())
        signals = Signals(estimate, target, mixture, tuple(interferers), self.sample_rate, self.encoder)
        perceptual, notes = measure_perceptual(self.metrics, signals)
        return PairResult(pair.name, sample, perceptual, tuple(notes))
