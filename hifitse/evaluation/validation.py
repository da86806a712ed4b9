"""The exam: the same fixed scenes for every checkpoint. It returns numbers and changes nothing."""

import contextlib
import hashlib
import json
from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from hifitse.checkpoint.file import Checkpoint
from hifitse.config.files import load_config
from hifitse.experiment import Experiment
from hifitse.losses import Counts, term_means
from hifitse.metrics import Sample, aggregate, measure
from hifitse.mixing.curriculum import exam_settings
from hifitse.mixing.loader import MicroBatch, num_exam_batches
from hifitse.runs.run import Run


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
    so can the checkpoints of different phases be compared by it. Ranks share the batches; each returns the whole
    result, equal to that of a single process.

    Args:
        step: completed steps of the model, to be noted in the result.
        progress: told how many scenes are done, on all ranks equally often; what it raises ends the exam.
    """
    config, ranks = experiment.config, experiment.ranks
    answers: list[tuple[_Answer, _Answer]] = []
    with (
        _evaluating(averaged),
        _evaluating(raw),
        torch.inference_mode(),
        contextlib.closing(experiment.exam_batches()) as batches,
    ):
        for turn in range(-(-num_exam_batches(config) // ranks.size)):
            # In the last turn some ranks may have no batch left.
            if batch := next(batches, None):
                batch = batch.to(experiment.device)
                answers.append((_answer(averaged, batch, experiment), _answer(raw, batch, experiment)))
            if progress:
                progress(min((turn + 1) * ranks.size * config.validation.batch_size, config.validation.num_scenes))
    everything = sorted((pair for part in ranks.gather(answers) for pair in part), key=lambda pair: pair[0].number)
    samples, metrics, terms = _mark([ours for ours, _ in everything], experiment)
    _, raw_metrics, _ = _mark([theirs for _, theirs in everything], experiment)
    return Exam(step, exam_digest(experiment), metrics, raw_metrics, terms, samples)


@dataclass(frozen=True)
class _Answer:
    """What one model made of one batch of the exam."""

    number: int
    samples: list[Sample]
    sums: dict[str, float]
    """Of each loss term."""


def _answer(model: nn.Module, batch: MicroBatch, experiment: Experiment) -> _Answer:
    with experiment.autocast():
        estimate = model(batch.mixture, batch.reference)
    samples = measure(batch.indices, estimate, batch.target, batch.mixture, batch.present)
    sums = experiment.objective.sums(estimate, batch.target, batch.mixture, batch.present, has_absent=True)
    return _Answer(batch.number, samples, {name: value.item() for name, value in sums.items()})


def _mark(
    answers: list[_Answer], experiment: Experiment
) -> tuple[tuple[Sample, ...], dict[str, float], dict[str, float]]:
    """Return all samples, the metrics, and the mean of each loss term."""
    samples = tuple(sample for answer in answers for sample in answer.samples)
    sums = {
        name: torch.tensor([answer.sums[name] for answer in answers], dtype=torch.float64).sum()
        for name in answers[0].sums
    }
    num_present = sum(sample.present for sample in samples)
    counts = Counts(num_present, len(samples) - num_present)
    metrics = aggregate(samples, experiment.objective.loss(sums, counts, has_absent=True).item())
    return samples, metrics, {name: value.item() for name, value in term_means(sums, counts).items()}


@contextlib.contextmanager
def _evaluating(model: nn.Module) -> Generator[None]:
    was_training = model.training
    model.eval()
    try:
        yield
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
