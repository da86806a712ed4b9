"""`train --init`: a new training begins with the weights of a file, says what fits, and is as exact as any."""

from pathlib import Path

import pytest
import torch

import hifitse
from hifitse.checkpoint.export import export_model
from hifitse.checkpoint.file import load_checkpoint
from hifitse.config.files import load_config
from hifitse.runs.records import exact_metrics, read_events, read_metrics, read_origin
from hifitse.runs.run import Run
from hifitse.training.initial import Initial
from hifitse.training.state import new_state
from tests.helpers import MUON, NETWORKS, TINY, Cli

CPU = torch.device("cpu")


def settings(*overrides: str) -> list[str]:
    return [part for override in overrides for part in ("--set", override)]


def ema(path: Path) -> dict[str, torch.Tensor]:
    tensors = load_checkpoint(path).tensors
    return {name.removeprefix("ema/"): tensor for name, tensor in tensors.items() if name.startswith("ema/")}


def test_both_weights_are_those_of_the_file_and_all_else_is_new(cli: Cli, trained: Path, tmp_path: Path) -> None:
    checkpoint = Run(trained).checkpoint_path(8)
    config = load_config(TINY)
    state = new_state(config, CPU)
    Initial.read(checkpoint, config).apply(state)
    for network in (state.model, state.ema):
        assert all(tensor.equal(ema(checkpoint)[name]) for name, tensor in network.state_dict().items())
    assert (state.step, state.parent) == (0, load_checkpoint(checkpoint).digest)
    assert not state.optimizer.state

    run = Run(tmp_path / "run")
    outcome = cli("train", "--config", TINY, "--run", run.path, "--init", checkpoint, "--stop-at", 2)
    assert outcome.code == 0, outcome.err
    assert f"{len(ema(checkpoint))} loaded: " in outcome.err and all(name in outcome.err for name in ema(checkpoint))
    origin = read_origin(run)
    assert origin and (origin.source, origin.step) == (str(checkpoint), 8)
    assert load_checkpoint(run.checkpoint_path(2)).header.parent is not None
    events = read_events(run)
    assert [row.kind for row in events] == ["initialized", "started", "paused"]
    assert events[0].get("loaded") == list(ema(checkpoint))
    # Weights that are close to what they were: nothing was drawn anew.
    before, after = ema(checkpoint), ema(run.checkpoint_path(2))
    assert all((after[name] - tensor).abs().max() < 0.01 for name, tensor in before.items())


@pytest.mark.parametrize("overrides", [(), (MUON,)], ids=["adamw", "muon"])
def test_interruptions_change_nothing(cli: Cli, trained: Path, tmp_path: Path, overrides: tuple[str, ...]) -> None:
    model = tmp_path / "model.safetensors"
    export_model(load_checkpoint(Run(trained).checkpoint_path(8)), model, half=True)
    straight, interrupted = Run(tmp_path / "straight"), Run(tmp_path / "interrupted")
    train = ("train", "--config", TINY, "--init", model, *settings(*overrides))
    assert cli(*train, "--run", straight.path).code == 0
    assert cli(*train, "--run", interrupted.path, "--stop-at", 3).code == 0
    for step in (7, 12):
        assert cli("resume", "--run", interrupted.path, "--stop-at", step).code == 0
    assert exact_metrics(interrupted) == exact_metrics(straight)
    ours, theirs = (load_checkpoint(run.checkpoint_path(12)).tensors for run in (interrupted, straight))
    assert all(tensor.equal(ours[name]) for name, tensor in theirs.items())
    assert read_metrics(straight) != read_metrics(Run(trained)), "it began elsewhere"


def test_what_does_not_fit_is_listed_and_drawn_from_the_seed(cli: Cli, trained: Path, tmp_path: Path) -> None:
    checkpoint = Run(trained).checkpoint_path(8)
    other = ("model.lstm_hidden=12", "audio.sample_rate=16000", "model.num_layers=2")
    config = load_config(TINY, other)
    fresh, state = new_state(config, CPU), new_state(config, CPU)
    initial = Initial.read(checkpoint, config)
    initial.apply(state)
    names = {name: tensor.shape for name, tensor in state.model.state_dict().items()}
    assert {*initial.weights, *(line.split()[0] for line in initial.misshapen), *initial.drawn} == {*names}
    assert initial.weights and initial.misshapen and initial.drawn
    for name, tensor in state.model.state_dict().items():
        expected = initial.weights.get(name, fresh.model.state_dict()[name])
        assert tensor.equal(expected)

    outcome = cli(
        "train", "--config", TINY, "--run", tmp_path / "run", "--init", checkpoint, "--stop-at", 1, *settings(*other)
    )
    assert outcome.code == 0, outcome.err
    assert "misshapen: " in outcome.err and "drawn from the seed" in outcome.err
    assert "audio.sample_rate: 8000 where the weights were trained, 16000 here" in outcome.err
    assert "model.lstm_hidden: 8 where" in outcome.err


def test_where_nothing_fits_no_run_begins(cli: Cli, trained: Path, tmp_path: Path) -> None:
    checkpoint, run = Run(trained).checkpoint_path(8), tmp_path / "run"
    for init, words in (
        (checkpoint, ["none of its", "model.kind is compact there and band_attention here"]),
        (tmp_path / "none.safetensors", ["none.safetensors", "hifitse export"]),
        (TINY, ["tiny.yaml", "hifitse export"]),
    ):
        other = NETWORKS["band_attention"]
        outcome = cli("train", "--config", TINY, "--run", run, "--init", init, *settings(other))
        assert outcome.code == 1 and len(outcome.err.splitlines()) == 1, outcome.err
        assert all(word in outcome.err for word in words), outcome.err
        assert not run.exists()


def test_from_python(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hifitse.config.files.BUNDLED", tmp_path)
    (tmp_path / "model").mkdir()
    export_model(load_checkpoint(Run(trained).checkpoint_path(8)), tmp_path / "model" / "model.safetensors")
    run = hifitse.train(hifitse.load_config(TINY), tmp_path / "run", init="bundled", stop_at=2)
    assert run.events[0]["kind"] == "initialized" and "bundled" in run.events[0]["message"]
