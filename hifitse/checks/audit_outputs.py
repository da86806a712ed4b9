"""What the audit listens to: a few short validation scenes, and stand-ins for a model's output.

Waveforms are (B, L), TP and TA scenes in one batch.
"""

import contextlib
from dataclasses import replace

import torch
from torch import Tensor

from hifitse.config.schema import AbsentLoss
from hifitse.experiment import Experiment
from hifitse.mixing.batch import MicroBatch
from hifitse.mixing.loader import validation_batches

LEAK_DB = -30.0
"""Level in the ideal output of what is not the target, in dB below the target. Without any, the floor that keeps
SI-SDR finite would rule it, and a perfect output would score better the louder it is."""
NO_TARGET_DB = -20.0
"""Level that counts as silent for a TA term without a target level (raw_db), in dB below the mixture."""


def audit_scenes(
    experiment: Experiment, num_present: int = 2, num_absent: int = 2, max_seconds: float = 1.0
) -> MicroBatch:
    """Return the first TP and TA scenes of the validation (fewer, if it has fewer), on the experiment's device.

    Mixture, target and reference are cut to their loudest ``max_seconds``: the audit of the full-size model then costs
    less than one training step.

    Raises:
        HifitseError: a scene cannot be rendered.
    """
    config = experiment.config
    # One by one and in this process: no more scenes are rendered than are needed.
    data = config.data.model_copy(update={"num_workers": 0})
    single = config.validation.model_copy(update={"batch_size": 1})
    one_by_one = config.model_copy(update={"data": data, "validation": single})
    num_samples = round(max_seconds * config.audio.sample_rate)
    wanted = {True: num_present, False: num_absent}
    chosen: list[MicroBatch] = []
    with contextlib.closing(validation_batches(one_by_one, experiment.corpus.held_out)) as scenes:
        for scene in scenes:
            present = bool(scene.present)
            if wanted[present] > 0:
                wanted[present] -= 1
                chosen.append(_loudest(scene, num_samples))
            if not any(wanted.values()):
                break
    return replace(
        chosen[0],
        indices=tuple(scene.indices[0] for scene in chosen),
        mixture=torch.cat([scene.mixture for scene in chosen]),
        reference=torch.cat([scene.reference for scene in chosen]),
        target=torch.cat([scene.target for scene in chosen]),
        present=torch.cat([scene.present for scene in chosen]),
    ).to(experiment.device)


def _loudest(scene: MicroBatch, num_samples: int) -> MicroBatch:
    span = _loudest_span(scene.target if scene.present else scene.mixture, num_samples)
    return replace(
        scene,
        mixture=scene.mixture[:, span],
        target=scene.target[:, span],
        reference=scene.reference[:, _loudest_span(scene.reference, num_samples)],
    )


def _loudest_span(waveform: Tensor, num_samples: int) -> slice:
    if waveform.shape[-1] <= num_samples:
        return slice(None)
    energy = waveform[0].double().square().cumsum(0)
    start = int((energy[num_samples:] - energy[:-num_samples]).argmax())
    return slice(start, start + num_samples)


def select(scenes: MicroBatch, chosen: Tensor) -> MicroBatch:
    """Return the scenes where ``chosen``, (B,) bool, is true."""
    return replace(
        scenes,
        indices=tuple(index for index, wanted in zip(scenes.indices, chosen.tolist(), strict=True) if wanted),
        mixture=scenes.mixture[chosen],
        reference=scenes.reference[chosen],
        target=scenes.target[chosen],
        present=scenes.present[chosen],
    )


def mixture_copy(scenes: MicroBatch) -> Tensor:
    """Return what a model gives that cannot separate: the mixture, in TP scenes at the target's level: (B, L)."""
    present = scenes.present[:, None].to(scenes.mixture.device)
    return torch.where(present, _at_energy(scenes.mixture, _energy(scenes.target)), scenes.mixture)


def ideal(config: AbsentLoss, scenes: MicroBatch) -> Tensor:
    """Return a very good output: (B, L).

    TP: the target with a little of the rest, at the target's level. TA: the mixture, turned down until it is just
    silent enough; digital silence would answer to no gain.
    """
    rest = _at_energy(scenes.mixture - scenes.target, _energy(scenes.target) * 10 ** (LEAK_DB / 10))
    separated = _at_energy(scenes.target + rest, _energy(scenes.target))
    silent = _at_energy(scenes.mixture, _silent_energy(config, _energy(scenes.mixture)))
    return torch.where(scenes.present[:, None].to(separated.device), separated, silent)


def _silent_energy(config: AbsentLoss, mixture_energy: Tensor) -> Tensor:
    match config.kind:
        case "hinge":
            return torch.full_like(mixture_energy, 10 ** (config.target_db / 10))
        case "suppression":
            return mixture_energy * 10 ** (-config.suppression_db / 10)
        case "relative":
            return config.relative_floor * mixture_energy
        case "raw_db":
            return mixture_energy * 10 ** (NO_TARGET_DB / 10)


def _energy(waveform: Tensor) -> Tensor:
    return waveform.square().mean(-1, keepdim=True)


def _at_energy(waveform: Tensor, energy: Tensor) -> Tensor:
    return waveform * (energy / (_energy(waveform) + torch.finfo(waveform.dtype).tiny)).sqrt()
