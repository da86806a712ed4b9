"""What is ``auto`` becomes what fits into the memory, once: a run keeps what it began with."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from hifitse.config.files import load_config
from hifitse.config.model import BandAttentionConfig
from hifitse.config.schema import Config
from hifitse.distributed.ranks import Ranks
from hifitse.experiment import Experiment
from hifitse.runs.records import exact_metrics
from hifitse.runs.run import Run
from hifitse.training import memory
from hifitse.training.memory import as_recorded, fitted
from tests.helpers import TINY, Cli

MEGABYTE = 10**6
SIZE = "train.micro_batch_size"
NETWORK = {"kind": "band_attention", "stft": {"n_fft": 256, "window": 256, "hop": 128}, "num_bands": 8,
           "feature_dim": 16, "hidden_dim": 32, "num_blocks": 6, "num_heads": 2}  # fmt: skip
# Stands for a GPU: no CPU, and its tensors have sizes.
OTHER = torch.device("meta")


@dataclass(frozen=True)
class TwoRanks(Ranks):
    """This rank, and one that has room for one scene and has to recompute."""

    size: int = 2

    def all_gather(self, value: Any) -> list[Any]:
        return [value, (1, True)]


@pytest.fixture
def choose(make_config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, bool]]:
    """Return what is chosen with so many megabytes free, for eight scenes of a network."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())
    built = Experiment.build(make_config(model=NETWORK), torch.device("cpu"))

    def choice(free_megabytes: float, device: torch.device = OTHER, ranks: Ranks | None = None, **given: Any) -> Any:
        monkeypatch.setattr(memory, "_free_bytes", lambda *_: round(free_megabytes * MEGABYTE))
        model = {"activation_checkpointing": given.pop("activation_checkpointing", "auto")}
        config = make_config(model={**NETWORK, **model}, train={"batch_size": 8, "micro_batch_size": "auto", **given})
        chosen = fitted(replace(built, config=config, device=device, ranks=ranks or built.ranks)).config
        assert isinstance(chosen.model, BandAttentionConfig)
        return chosen.train.micro_batch_size, chosen.model.activation_checkpointing

    return choice


def test_tensors_count_while_they_are_there_and_views_do_not() -> None:
    given = torch.ones(1000)
    with memory._LiveBytes([given], 10**9) as counter:
        doubled = 2 * given.view(10, 100)
        assert counter.live == 4000
        del doubled
        tripled = [3 * given, given[10:]]
        assert counter.live == 4000 == counter.peak
        del tripled
    assert counter.live == 0


def test_what_the_backward_pass_keeps_counts() -> None:
    def held(recompute: bool) -> int:
        weight = torch.ones(1000, requires_grad=True)

        def block(features: Tensor) -> Tensor:
            return features.exp().sin().exp()

        with memory._LiveBytes([weight], 10**9) as counter:
            features = weight
            for _ in range(10):
                features = checkpoint(block, features, use_reentrant=False) if recompute else block(features)
            features.sum().backward()  # type: ignore[no-untyped-call]
        return counter.peak

    assert held(recompute=False) > 1.5 * held(recompute=True) > 10 * 4000


def test_the_less_memory_the_fewer_scenes_and_then_recomputation(choose: Callable[..., tuple[int, bool]]) -> None:
    choices = [choose(megabytes) for megabytes in (100_000, 200, 100, 50, 10)]
    assert choices[0] == (8, False) and choices[-1] == (1, True)
    assert {size for size, _ in choices} <= {1, 2, 4, 8}
    kept = [size for size, recompute in choices if not recompute]
    recomputed = [size for size, recompute in choices if recompute]
    # A quarter of the scenes at least; recomputing, more fit again.
    assert kept == sorted(kept, reverse=True) and kept[-1] == 2
    assert recomputed == sorted(recomputed, reverse=True) and recomputed[0] > 2


def test_a_cpu_gets_few_scenes_and_recomputes_only_if_not_one_fits(choose: Callable[..., tuple[int, bool]]) -> None:
    cpu = torch.device("cpu")
    assert choose(100_000, cpu) == (8, False)
    assert choose(60, cpu) == (1, False)
    assert choose(10, cpu) == (1, True)


def test_what_is_given_stays(choose: Callable[..., tuple[int, bool]]) -> None:
    assert choose(10, micro_batch_size=4) == (4, True)
    assert choose(100_000, micro_batch_size=4) == (4, False)
    assert choose(100_000, activation_checkpointing=True) == (8, True)
    assert choose(10, activation_checkpointing=False) == (1, False)


def test_all_ranks_do_what_the_one_with_the_least_memory_can(choose: Callable[..., tuple[int, bool]]) -> None:
    assert choose(100_000, ranks=TwoRanks()) == (1, True)


def test_a_checkpoint_says_what_was_chosen_as_far_as_it_was() -> None:
    def size_of(now: str, then: str) -> Any:
        return as_recorded(load_config(TINY, [now]), load_config(TINY, [then])).train.micro_batch_size

    assert size_of(f"{SIZE}=auto", f"{SIZE}=1") == 1
    assert size_of(f"{SIZE}=4", f"{SIZE}=1") == 4
    # As an import leaves it.
    assert size_of(f"{SIZE}=auto", f"{SIZE}=auto") == "auto"


def test_a_run_keeps_its_choice_whatever_is_free_later(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, straight = Run(tmp_path / "run"), Run(tmp_path / "straight")
    auto = ("--config", TINY, "--set", f"{SIZE}=auto")
    monkeypatch.setattr(memory, "_free_bytes", lambda *_: MEGABYTE)
    begun = cli("train", *auto, "--run", run.path, "--stop-at", 3)
    assert begun.code == 0 and "micro-batches of 1: a scene takes about " in begun.err
    assert load_config(run.config_path).train.micro_batch_size == 1
    monkeypatch.undo()
    resumed = cli("resume", *auto, "--run", run.path, "--stop-at", 6)
    assert resumed.code == 0 and "changed" not in resumed.err and "micro-batches of" not in resumed.err
    assert cli("resume", *auto, "--run", run.path, "--verify", "--from", 3).code == 0
    assert cli("train", "--config", TINY, "--set", f"{SIZE}=1", "--run", straight.path, "--stop-at", 6).code == 0
    assert [row for row in exact_metrics(run) if row["step"] <= 6] == exact_metrics(straight)

    changed = cli("resume", "--run", run.path, "--set", f"{SIZE}=4", "--stop-at", 8)
    assert f"changed: {SIZE}: 1 -> 4 (free)" in changed.err


def test_a_smoke_test_chooses_too(cli: Cli) -> None:
    outcome = cli("smoke", "--config", TINY, "--set", f"{SIZE}=auto", "--steps", 2)
    assert outcome.code == 0 and "micro-batches of 4: " in outcome.err
