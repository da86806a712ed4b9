"""Errors of a device may surface late; they cost no finished step, and the first one is what people read."""

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from hifitse.checkpoint.file import load_checkpoint
from hifitse.config.files import load_config
from hifitse.experiment import Experiment
from hifitse.losses import Counts
from hifitse.mixing.batch import MicroBatch
from hifitse.models.build import build_model
from hifitse.runs.run import Run
from hifitse.training.saving.saver import Saver
from hifitse.training.step import TrainingSession
from tests.helpers import TINY, Cli

CUDA_ERROR = RuntimeError("CUDA error: an illegal memory access was encountered")


def fail_at_the_read_of_step(step: int, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Raise where a step first waits for its device."""
    clip, calls = torch.nn.utils.clip_grad_norm_, []

    def clip_or_fail(*arguments: Any) -> torch.Tensor:
        calls.append(1)
        if len(calls) == step:
            raise error
        return clip(*arguments)

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", clip_or_fail)


def test_an_error_that_surfaces_when_the_step_is_read_costs_no_finished_step(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path / "run")
    with monkeypatch.context() as patch:
        fail_at_the_read_of_step(6, CUDA_ERROR, patch)
        outcome = cli("train", "--config", TINY, "--run", run.path, "--set", "train.checkpoint_every=100")
    assert outcome.code == 1
    assert "step 6 cannot be done: CUDA error: an illegal memory access" in outcome.err
    assert load_checkpoint(run.checkpoint_path(5)).header.step == 5
    assert cli("resume", "--run", run.path).code == 0


def test_a_device_that_gives_nothing_any_more_does_not_hide_the_first_error(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("CUDA error: the context is destroyed")

    fail_at_the_read_of_step(3, CUDA_ERROR, monkeypatch)
    monkeypatch.setattr(Saver, "save", broken)
    run = ("--run", tmp_path / "run", "--set", "train.checkpoint_every=100")
    outcome = cli("train", "--config", TINY, *run)
    assert outcome.code == 1
    *_, second_last, last = outcome.err.strip().splitlines()
    assert "step 2 could not be saved: CUDA error: the context is destroyed" in second_last
    assert last.startswith("error: step 3 cannot be done: CUDA error: an illegal memory access")


def test_memory_that_runs_out_names_what_needs_less(
    cli: Cli, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        fail_at_the_read_of_step(2, torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), patch)
        outcome = cli("train", "--config", TINY, "--run", tmp_path / "run")
    assert "out of memory" in outcome.err and "train.micro_batch_size" in outcome.err
    assert "activation_checkpointing" in outcome.err

    def out_of_memory(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with monkeypatch.context() as patch:
        patch.setattr("hifitse.evaluation.validation.measure", out_of_memory)
        outcome = cli("train", "--config", TINY, "--run", tmp_path / "other")
    assert outcome.code == 1
    assert "the validation of step 4 cannot be done: out of memory; lower validation.batch_size" in outcome.err
    assert Run(tmp_path / "other").checkpoint_steps()[-1] == 4, "what was to be validated is saved"


@pytest.mark.parametrize(("device", "pinned"), [("cpu", False), ("cuda", True)])
def test_memory_is_pinned_for_the_chosen_device_only(
    device: str, pinned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied: list[bool] = []

    def pin_memory(batch: MicroBatch) -> MicroBatch:
        copied.append(True)
        return batch

    monkeypatch.setattr(MicroBatch, "pin_memory", pin_memory)
    # A machine with a GPU, whichever device is chosen.
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    config = load_config(TINY, ["data.num_workers=0"])
    experiment = replace(Experiment.build(config, torch.device("cpu")), device=torch.device(device))
    for batches in (experiment.training_batches(0, 1), experiment.validation_batches()):
        next(batches)
        batches.close()
    assert copied == [True, True] * pinned


def test_on_the_cpu_no_gpu_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    def touched(*_: Any) -> None:
        raise AssertionError("a GPU was touched")

    monkeypatch.setattr(torch.cuda, "set_device", touched)
    monkeypatch.setattr(torch, "set_float32_matmul_precision", touched)
    session = TrainingSession.fresh(Experiment.build(load_config(TINY), torch.device("cpu")))
    assert [result.step for result in session.steps(2)] == [1, 2]


def test_the_chosen_gpu_is_the_current_one_with_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[object] = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(torch, "set_float32_matmul_precision", chosen.append)
    Experiment.build(load_config(TINY), torch.device("cuda", 1))
    assert chosen == [torch.device("cuda", 1), "high"]


SMALL_MODELS = {
    "compact": [],
    "grid": ["model={kind: grid, feature_dim: 8, lstm_hidden: 6, num_blocks: 1, num_heads: 2, reinject_at: []}"],
    "attention": ["model={kind: attention, stft: {n_fft: 128, window: 128, hop: 64}}"],
    "band_attention": ["model={kind: band_attention, stft: {n_fft: 128, window: 128, hop: 64}, num_bands: 8}"],
}


@pytest.mark.parametrize("kind", SMALL_MODELS)
def test_nothing_waits_for_the_device_before_the_one_read_of_a_step(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the meta device there are no values: whoever asks for one, as for a size that depends on values, fails."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())
    experiment = Experiment.build(load_config(TINY, ["data.num_workers=0", *SMALL_MODELS[kind]]), torch.device("cpu"))
    with contextlib.closing(experiment.training_batches(5, 6)) as batches:
        batch = next(batches).to("meta")
    model = build_model(experiment.config.model, experiment.config.audio.sample_rate).to("meta")
    estimate = model(batch.mixture, batch.reference)
    sums = experiment.objective.sums(estimate, batch.target, batch.mixture, batch.present, has_absent=True)
    experiment.objective.loss(sums, Counts(1, 1), has_absent=True).backward()
    assert all(parameter.grad.device.type == "meta" for parameter in model.parameters() if parameter.grad is not None)
