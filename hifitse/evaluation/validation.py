"""Validation: the same fixed scenes for every checkpoint. It returns numbers and changes nothing."""

import contextlib
import hashlib
import json
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, dataclass, replace

import torch
from torch import nn

from hifitse.checkpoint.file import Checkpoint
from hifitse.config.files import load_config
from hifitse.evaluation.result import ValidationResult, readable_results, write_result
from hifitse.experiment import Experiment
from hifitse.losses import Counts, term_means
from hifitse.metrics import Sample, aggregate, measure
from hifitse.mixing.batch import MicroBatch
from hifitse.mixing.curriculum import held_out_settings
from hifitse.mixing.loader import num_validation_batches, num_validation_scenes
from hifitse.mixing.rendering import RECIPE_VERSION
from hifitse.perceptual.registry import PerceptualMetric, measure_perceptual
from hifitse.perceptual.signals import Signals
from hifitse.runs.checkpoint_ref import owns
from hifitse.runs.run import Run

Hear = Callable[[MicroBatch, torch.Tensor], None]


def validate(
    ema: nn.Module,
    model: nn.Module | None,
    experiment: Experiment,
    step: int,
    progress: Callable[[int], None] | None = None,
    perceptual: Sequence[PerceptualMetric] = (),
    hear: Hear | None = None,
) -> ValidationResult:
    """Measure the EMA weights and the model weights on the validation scenes; modes and gradients stay as they are.

    The EMA weights are also measured on scenes of training speakers: what they do with voices that they know.

    val_loss is the training objective over all scenes, TA term included, in every phase: only so can the checkpoints
    of different phases be compared by it. Ranks share the batches; each returns the whole result, equal to that of a
    single process.

    Args:
        model: None where the EMA weights are all there is, as in an exported model; its figures are theirs then.
        step: completed steps of the weights, to be noted in the result.
        progress: called with how many scenes are done, on all ranks equally often; what it raises ends the validation.
        perceptual: what is measured besides, of the EMA weights.
        hear: called with each batch of validation scenes that this rank measures, and what the EMA weights make of it.
    """
    num_scenes = num_validation_scenes(experiment.config)
    models = (ema,) if model is None else (ema, model)
    with _evaluating(*models), torch.inference_mode():
        held_out = _measure_all(models, experiment, False, step, progress, perceptual, hear)
        known = _measure_all((ema,), experiment, True, step, progress and (lambda done: progress(num_scenes + done)))
    samples, metrics, terms = _summarize([of_each[0] for of_each in held_out], experiment)
    _, model_metrics, _ = _summarize([of_each[-1] for of_each in held_out], experiment)
    train_samples = [sample for (of_ema,) in known for sample in of_ema.samples]
    return ValidationResult(
        step=step,
        scenes_digest=scenes_digest(experiment),
        metrics=metrics,
        model_metrics=model_metrics,
        train_metrics=aggregate(train_samples) if train_samples else None,
        num_new_speakers=experiment.corpus.num_new_speakers,
        terms=terms,
        samples=samples,
    )


def _measure_all(
    models: tuple[nn.Module, ...],
    experiment: Experiment,
    of_train_speakers: bool,
    step: int,
    progress: Callable[[int], None] | None,
    perceptual: Sequence[PerceptualMetric] = (),
    hear: Hear | None = None,
) -> "list[tuple[_Measured, ...]]":
    """Return what each of the models made of each batch, of all ranks and in order; the rest is of the first."""
    config, ranks = experiment.config, experiment.ranks
    num_batches = num_validation_batches(config, of_train_speakers)
    measured: list[tuple[_Measured, ...]] = []
    with contextlib.closing(experiment.validation_batches(of_train_speakers)) as batches:
        for turn in range(-(-num_batches // ranks.size)):
            with ranks.all_or_none(f"the validation of step {step}", "lower validation.batch_size"):
                # In the last turn some ranks may have no batch left.
                if batch := next(batches, None):
                    batch = batch.to(experiment.device)
                    first = _measure(models[0], batch, experiment, perceptual, hear)
                    others = (_measure(model, batch, experiment) for model in models[1:])
                    measured.append((first, *others))
            if progress:
                done = (turn + 1) * ranks.size * config.validation.batch_size
                progress(min(done, num_validation_scenes(config, of_train_speakers)))
    everything = (each for part in ranks.all_gather(measured) for each in part)
    return sorted(everything, key=lambda each: each[0].number)


@dataclass(frozen=True)
class _Measured:
    """What one model made of one batch."""

    number: int
    samples: list[Sample]
    sums: dict[str, float]
    """Of each loss term."""


def _measure(
    model: nn.Module,
    batch: MicroBatch,
    experiment: Experiment,
    perceptual: Sequence[PerceptualMetric] = (),
    hear: Hear | None = None,
) -> _Measured:
    with experiment.autocast():
        estimate = model(batch.mixture, batch.reference)
    if hear:
        hear(batch, estimate)
    measured = measure(batch.indices, estimate, batch.target, batch.mixture, batch.present, batch.interferers)
    samples = [replace(sample, **vars(facts)) for sample, facts in zip(measured, batch.facts, strict=True)]
    if perceptual:
        samples = [_heard(sample, i, estimate, batch, experiment, perceptual) for i, sample in enumerate(samples)]
    sums = experiment.objective.sums(estimate, batch.target, batch.mixture, batch.present, has_absent=True)
    return _Measured(batch.number, samples, {name: value.item() for name, value in sums.items()})


def _heard(
    sample: Sample,
    place: int,
    estimate: torch.Tensor,
    batch: MicroBatch,
    experiment: Experiment,
    perceptual: Sequence[PerceptualMetric],
) -> Sample:
    """Return a sample with its perceptual metrics, if its target is present."""
    if not sample.present or batch.interferers is None:
        return sample
    output, target, mixture = (part[place].float().cpu().numpy() for part in (estimate, batch.target, batch.mixture))
    interferers = tuple(part for part in batch.interferers[place].cpu().numpy() if part.any())
    signals = Signals(output, target, mixture, interferers, experiment.config.audio.sample_rate)
    return replace(sample, perceptual=measure_perceptual(perceptual, signals)[0])


def _summarize(
    batches: list[_Measured], experiment: Experiment
) -> tuple[tuple[Sample, ...], dict[str, float], dict[str, float]]:
    """Return all samples, the metrics, and the mean of each loss term."""
    samples = tuple(sample for batch in batches for sample in batch.samples)
    sums = {
        name: torch.tensor([batch.sums[name] for batch in batches], dtype=torch.float64).sum()
        for name in batches[0].sums
    }
    num_present = sum(sample.present for sample in samples)
    counts = Counts(num_present, len(samples) - num_present)
    metrics = aggregate(samples, experiment.objective.loss(sums, counts, has_absent=True).item())
    return samples, metrics, {name: value.item() for name, value in term_means(sums, counts).items()}


@contextlib.contextmanager
def _evaluating(*models: nn.Module) -> Generator[None]:
    were_training = [model.training for model in models]
    for model in models:
        model.eval()
    try:
        yield
    finally:
        for model, was_training in zip(models, were_training, strict=True):
            model.train(was_training)


def keep_result(result: ValidationResult, checkpoint: Checkpoint, experiment: Experiment, run: Run) -> bool:
    """Keep a result in a run, unless checkpoint, objective or scenes are other than the run's own.

    Its scenes are those of its newest result that can be read, by which selection compares. A result that the run has
    already is left as it is, one that was damaged is replaced.
    """
    own, config = load_config(run.config_path), experiment.config
    if not owns(run, checkpoint) or own.loss != config.loss:
        return False
    if own.validation.num_train_scenes != config.validation.num_train_scenes:
        return False
    kept = readable_results(run)
    if kept and kept[-1].scenes_digest != result.scenes_digest:
        return False
    if result not in [one if result.has_perceptual else one.without_perceptual() for one in kept]:
        write_result(run, result)
    return True


def scenes_digest(experiment: Experiment, of_test: bool = False) -> str:
    """Return a digest of everything that decides what the scenes of the validation, or of the test, sound like.

    Raises:
        ConfigError: there is no test set.
    """
    config, corpus = experiment.config, experiment.corpus
    pool = corpus.require_test() if of_test else corpus.held_out
    scenes = config.test_set if of_test else config.validation
    recipe = {
        "version": RECIPE_VERSION,
        "channel": config.data.channel,
        "target": config.mixing.target,
        "audio": config.audio.model_dump(),
        "num_scenes": scenes.num_scenes,
        "settings": asdict(held_out_settings(config, scenes.absent_ratio)),
        "limits": [config.mixing.peak_limit, config.mixing.min_target_seconds, config.mixing.silence_db],
        "corpus": pool.fingerprint if of_test else corpus.fingerprint,
        "voices": [[speaker.name, *(recording.name for recording in speaker.recordings)] for speaker in pool.speakers],
        **({"sessions": sessions} if any(sessions := [speaker.sessions for speaker in pool.speakers]) else {}),
        "noises": [recording.name for recording in pool.noises],
        "rooms": [[room.name, *(recording.name for recording in room.positions)] for room in pool.rooms],
    }
    return hashlib.blake2b(json.dumps(recipe, sort_keys=True).encode(), digest_size=8).hexdigest()
