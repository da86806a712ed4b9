"""The average of the best checkpoints' EMA weights: one more candidate of a selection, measured on the same scenes.

P. Izmailov et al., "Averaging weights leads to wider optima and better generalization", UAI 2018. It is a checkpoint
with less in it, ``averages/NAME.safetensors`` in the run, beside its validation: nothing that a training goes on from,
so neither ``last`` nor retention sees it, and it counts as what it is only where ``best`` points at it.
"""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from hifitse.checkpoint.file import Checkpoint, load_checkpoint, save_checkpoint
from hifitse.checkpoint.weights import load_model
from hifitse.errors import UsageError
from hifitse.evaluation.result import ValidationResult
from hifitse.evaluation.selection import Candidate, Selection
from hifitse.evaluation.validation import scenes_digest, validate
from hifitse.experiment import Experiment
from hifitse.metrics import Metric
from hifitse.perceptual.registry import chosen
from hifitse.runs.records import read_record
from hifitse.runs.run import Run
from hifitse.storage import write_sealed


def average_best(run: Run, selection: Selection, num_checkpoints: int) -> Path:
    """Average the EMA weights of the first so many checkpoints of a selection, and return the file that holds them.

    Raises:
        UsageError: so many were not selected from.
        CheckpointError: one of them is damaged, or the file cannot be written.
    """
    steps = sorted(ranked.step for ranked in selection.ranking[:num_checkpoints])
    if len(steps) < num_checkpoints:
        raise UsageError(
            f"--average {num_checkpoints}: only {len(steps)} validated checkpoints are within the bounds; "
            "give a lower number, or validate more with hifitse validate --from STEP"
        )
    sums: dict[str, torch.Tensor] = {}
    digests = []
    for step in steps:
        checkpoint = load_checkpoint(run.checkpoint_path(step))
        digests.append(checkpoint.digest)
        for name, tensor in checkpoint.tensors.items():
            if name.startswith("ema/"):
                sums[name] = sums.get(name, 0) + tensor.double()
    header = replace(checkpoint.header, digests={}, parent=checkpoint.digest, environment={"average_of": steps})
    name = f"{steps[-1]:08d}_{hashlib.blake2b(''.join(digests).encode(), digest_size=4).hexdigest()}"
    path = run.average_path(name)
    save_checkpoint(path, header, {name: (total / len(steps)).float() for name, total in sums.items()})
    return path


def validated_average(
    path: Path,
    selection: Selection,
    metrics: list[Metric],
    build: Callable[[], Experiment],
    progress: Callable[[int], None],
) -> Candidate:
    """Return a weight average with its validation on the scenes of the selection: the one kept, else a new one.

    Args:
        metrics: those that it has to be measured by, perceptual ones among them.
        build: returns the experiment of the run, if it is needed.
        progress: called with how many scenes are done.

    Raises:
        UsageError: the experiment has other scenes.
    """
    checkpoint = load_checkpoint(path)
    kept = path.with_suffix(".json")
    result = read_record(kept, ValidationResult, "remove it") if kept.exists() else None
    known = result is not None and result.scenes_digest == selection.best_result.scenes_digest
    if result is None or not known or any(metric.name not in result.metrics for metric in metrics):
        result = _validate(checkpoint, selection, metrics, build(), progress)
        write_sealed(kept, result.to_json(), indent=None)
    return Candidate(path, result, tuple(checkpoint.header.environment["average_of"]))


def _validate(
    checkpoint: Checkpoint,
    selection: Selection,
    metrics: list[Metric],
    experiment: Experiment,
    progress: Callable[[int], None],
) -> ValidationResult:
    if scenes_digest(experiment) != selection.best_result.scenes_digest:
        raise UsageError(
            "--average: the configuration gives other scenes than those that the checkpoints were validated on; "
            "leave out what changes them, or validate the checkpoints again with hifitse validate --from STEP"
        )
    config = experiment.config
    perceptual = [str(metric.per_sample) for metric in metrics if metric.is_perceptual]
    network = load_model(checkpoint, config, experiment.device, "ema")
    step = checkpoint.header.step
    return validate(network, None, experiment, step, progress, chosen(perceptual, config.audio.sample_rate))
