"""The exam: the same fixed scenes for every checkpoint. It returns numbers and changes nothing."""

import contextlib
import hashlib
import json
from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hifitse.batches import MicroBatch
from hifitse.checkpoints import Checkpoint
from hifitse.config_files import load_config
from hifitse.curriculum import exam_settings
from hifitse.experiment import Experiment
from hifitse.losses import Counts, term_means
from hifitse.metrics import Sample, aggregate, measure
from hifitse.runs import Run


@dataclass(frozen=True)
class Exam:
    """The result of one validation."""

    step: int
    exam_digest: str
    """Identifies the scenes: results with different digests cannot be compared."""
    metrics: dict[str, float]
    """Of the averaged weights, which are the ones that are used."""
    raw_metrics: dict[str, float]
    """Of the weights in training, in which a collapse shows first."""
    terms: dict[str, float]
    """Mean of each loss term over its scenes, unweighted; averaged weights."""
    samples: tuple[Sample, ...]
    """Averaged weights."""

    def to_json(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "exam_digest": self.exam_digest,
            "metrics": self.metrics,
            "raw_metrics": self.raw_metrics,
            "terms": self.terms,
            "samples": [sample.to_json() for sample in self.samples],
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Exam":
        samples = tuple(Sample(**sample) for sample in data["samples"])
        return cls(**{**data, "samples": samples})


def validate(
    averaged: nn.Module,
    raw: nn.Module,
    experiment: Experiment,
    step: int,
    progress: Callable[[int], None] | None = None,
) -> Exam:
    """Let the averaged and the raw weights of a checkpoint sit the exam; mode, weights and gradients stay as they are.

    val_loss is the training objective over all exam scenes, TA term included, in every phase: only
    so can the checkpoints of different phases be compared by it.

    Args:
        step: completed steps of the model, to be noted in the result.
        progress: told how many scenes are done.
    """
    with _evaluating(averaged) as averaged, _evaluating(raw) as raw, torch.inference_mode():
        papers = _Paper(averaged, experiment), _Paper(raw, experiment)
        for batch in experiment.exam_batches():
            batch = batch.to(experiment.device)
            for paper in papers:
                paper.answer(batch)
            if progress:
                progress(len(papers[0].samples))
    paper, raw_paper = papers
    return Exam(
        step, exam_digest(experiment), paper.metrics(), raw_paper.metrics(), paper.terms(), tuple(paper.samples)
    )


class _Paper:
    """What one model answers in the exam."""

    def __init__(self, model: nn.Module, experiment: Experiment) -> None:
        self.model, self.experiment = model, experiment
        self.samples: list[Sample] = []
        self.sums: dict[str, Tensor] = {}

    def answer(self, batch: MicroBatch) -> None:
        with self.experiment.autocast():
            estimate = self.model(batch.mixture, batch.reference)
        self.samples += measure(len(self.samples), estimate, batch.target, batch.mixture, batch.present)
        parts = self.experiment.objective.sums(estimate, batch.target, batch.mixture, batch.present, has_absent=True)
        self.sums = {name: self.sums.get(name, 0) + value.double() for name, value in parts.items()}

    def metrics(self) -> dict[str, float]:
        loss = self.experiment.objective.loss(self.sums, self._counts(), has_absent=True)
        return aggregate(self.samples, loss.item())

    def terms(self) -> dict[str, float]:
        return {name: value.item() for name, value in term_means(self.sums, self._counts()).items()}

    def _counts(self) -> Counts:
        num_present = sum(sample.present for sample in self.samples)
        return Counts(num_present, len(self.samples) - num_present)


@contextlib.contextmanager
def _evaluating(model: nn.Module) -> Generator[nn.Module]:
    was_training = model.training
    model.eval()
    try:
        yield model
    finally:
        model.train(was_training)


def keep(exam: Exam, checkpoint: Checkpoint, experiment: Experiment, run: Run) -> bool:
    """Store a result in a run, unless checkpoint, objective or scenes are other than the run's own.

    Its scenes are those of its newest exam, by which selection compares.
    """
    if not run.owns(checkpoint) or load_config(run.config_path).loss != experiment.config.loss:
        return False
    steps = run.exam_steps()
    if steps and run.read_exam(steps[-1])["exam_digest"] != exam.exam_digest:
        return False
    run.write_exam(exam.step, exam.to_json())
    return True


def exam_digest(experiment: Experiment) -> str:
    """Return a digest of everything that decides what the exam's scenes sound like."""
    config, pool = experiment.config, experiment.corpus.held_out
    recipe = {
        "audio": config.audio.model_dump(),
        "num_scenes": config.validation.num_scenes,
        "settings": asdict(exam_settings(config)),
        "limits": [config.mixing.peak_limit, config.mixing.min_target_seconds, config.mixing.silence_db],
        "corpus": experiment.corpus.fingerprint,
        "voices": [[speaker.name, *(recording.name for recording in speaker.recordings)] for speaker in pool.speakers],
        "noises": [recording.name for recording in pool.noises],
        "rirs": [recording.name for recording in pool.rirs],
    }
    return hashlib.blake2b(json.dumps(recipe, sort_keys=True).encode(), digest_size=8).hexdigest()
