"""Evaluating a model on a test set: whole utterances, each pair of a mixture and a speaker once."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hifitse.audio.files import Samples, resample
from hifitse.errors import UsageError
from hifitse.evaluation.scoring.rows import PairFile, PairResult
from hifitse.evaluation.scoring.sources import HeardPair, Source
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
    source: Source
    metrics: Sequence[PerceptualMetric]
    encoder: Path | None
    """An ONNX file for the speaker similarity; None: resemblyzer's."""
    sample_rate: int
    """That figures are computed at, in Hz: that of the list, as in papers, or of the model where it is lower."""

    @classmethod
    def plan(cls, extractor: Extractor, source: Source, names: Sequence[str], encoder: Path | None) -> "Evaluation":
        """Choose what is measured, by name.

        Raises:
            UsageError: a metric is unknown, cannot be had at this rate, or needs a library that is missing.
        """
        rate = min(source.sample_rate, extractor.sample_rate)
        return cls(extractor, source, chosen(names, rate, encoder), encoder, rate)

    @property
    def facts(self) -> dict[str, Any]:
        """What identifies list and metrics."""
        return {
            "layout": self.source.layout,
            "digest": self.source.digest,
            "num_pairs": self.source.num_pairs,
            "sample_rate": self.sample_rate,
        }

    @property
    def header(self) -> dict[str, Any]:
        """What identifies the evaluation: one that goes on has the same."""
        return {
            "model": self.extractor.digest,
            "test_set": self.source.name,
            **self.facts,
            "metrics": [metric.name for metric in self.metrics],
            "speaker_encoder": None if self.encoder is None else hashlib.blake2b(read_bytes(self.encoder)).hexdigest(),
            "device": self.extractor.device.type,
        }

    @property
    def folder_name(self) -> str:
        """A name that no other evaluation has."""
        digest = hashlib.blake2b(json.dumps(self.header).encode(), digest_size=4).hexdigest()
        return f"{self.source.name}-{digest}"

    @property
    def described(self) -> str:
        """What is to stand below a table."""
        source, model_rate = self.source, self.extractor.sample_rate
        text = f"{source.layout} {source.name}, digest {source.digest}, {source.num_pairs} pairs, "
        text += f"figures at {self.sample_rate} Hz"
        if model_rate != source.sample_rate:
            text += f" (list {source.sample_rate} Hz, model {model_rate} Hz)"
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
        file, total = PairFile(path, self.header), self.source.num_pairs
        for num_before, pairs in self.source.batches(len(file.done), _AT_ONCE[self.extractor.device.type]):
            file.keep(num_before)
            file.append(self._measure(pairs))
            progress(len(file.done), total)
        return sorted(file.done, key=lambda result: result.sample.index)

    def _measure(self, pairs: Sequence[HeardPair]) -> list[PairResult]:
        """Run the network on whole pairs of one length, and measure what comes of each at the rate of the figures."""
        extractor, rate = self.extractor, self.extractor.sample_rate
        device = extractor.device
        mixtures = np.stack([resample(pair.mixture, self.source.sample_rate, rate) for pair in pairs])
        references = np.stack([pair.reference for pair in pairs])
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            estimates = extractor.network(
                torch.from_numpy(mixtures).to(device), torch.from_numpy(references).to(device)
            )
        found = estimates.float().cpu().numpy()
        return [
            self._result(pair, resample(estimate, rate, self.sample_rate))
            for pair, estimate in zip(pairs, found, strict=True)
        ]

    def _result(self, pair: HeardPair, estimate: Samples) -> PairResult:
        mixture, interferers = self._as_figures(pair.mixture), [self._as_figures(part) for part in pair.interferers]
        target = None if pair.target is None else self._as_figures(pair.target)
        # There and back, a rate may add a sample or two.
        estimate = estimate[: len(mixture)]
        (measured,) = measure(
            [pair.number],
            torch.from_numpy(estimate)[None],
            torch.from_numpy(np.zeros_like(mixture) if target is None else target)[None],
            torch.from_numpy(mixture)[None],
            torch.tensor([target is not None]),
            torch.from_numpy(np.stack(interferers))[None] if interferers else None,
        )
        sample = replace(measured, **pair.facts)
        if target is None:
            return PairResult(pair.name, sample, ())
        signals = Signals(estimate, target, mixture, tuple(interferers), self.sample_rate, self.encoder)
        perceptual, notes = measure_perceptual(self.metrics, signals)
        return PairResult(pair.name, replace(sample, perceptual=perceptual or None), tuple(notes))

    def _as_figures(self, samples: Samples) -> Samples:
        return resample(samples, self.source.sample_rate, self.sample_rate)
