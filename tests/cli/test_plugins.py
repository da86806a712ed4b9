"""A network of somebody else, named by its class, goes through all that one of hifitse's own does."""

import json
import sys
from pathlib import Path

import pytest
import torch

from hifitse.checkpoint.file import load_checkpoint
from hifitse.runs.run import Run
from tests.helpers import MUON, SPEECH, TINY, Cli

EXAMPLES = Path(__file__).parents[2] / "examples"
OWN = ("--set", "model={kind: 'own_network:GatedMask', n_fft: 128, hidden_dim: 8}", "--set", MUON)


@pytest.fixture(autouse=True)
def in_the_folder_of_the_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(EXAMPLES)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place not in ("", str(EXAMPLES))])


@pytest.fixture
def own(cli: Cli, tmp_path: Path) -> Run:
    """A run of it that was interrupted, audited at its start and again when it went on."""
    run = Run(tmp_path / "own")
    started = cli("train", "--config", TINY, "--run", run.path, *OWN, "--set", "data.num_workers=1", "--stop-at", 5)
    assert started.code == 0, started.err
    assert "audit of the objective: pass" in started.err
    assert cli("resume", "--run", run.path).code == 0
    return run


def test_it_trains_resumes_exactly_is_exported_and_extracts(cli: Cli, own: Run, tmp_path: Path) -> None:
    straight = Run(tmp_path / "straight")
    assert cli("train", "--config", TINY, "--run", straight.path, *OWN).code == 0
    ours, theirs = (load_checkpoint(run.checkpoint_path(12)).tensors for run in (own, straight))
    assert ours.keys() == theirs.keys() and all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())
    assert cli("select-best", "--run", own.path).code == 0
    model, voice = tmp_path / "model.safetensors", tmp_path / "voice.wav"
    assert cli("export", "--run", own.path, "--from", 12, "-o", model).code == 0
    mixture, reference = (sorted(SPEECH.rglob("*.flac"))[place] for place in (0, -1))
    extracted = cli("extract", mixture, reference, "-o", voice, "--model", model)
    assert extracted.code == 0, extracted.err
    assert voice.stat().st_size > 1000


def test_smoke_passes_on_it(cli: Cli, own: Run) -> None:
    outcome = cli("smoke", "--run", own.path, "--steps", 4, "--json")
    assert outcome.code == 0 and json.loads(outcome.out)["passed"], outcome.err


def test_its_settings_are_checked_and_shown_as_any(cli: Cli, own: Run) -> None:
    show = ("config", "show", "--config", TINY)
    shown = cli(*show, *OWN)
    assert "  kind: own_network:GatedMask\n" in shown.out and "  hidden_dim: 8\n" in shown.out
    smaller = cli(*show, *OWN, "--set", "model.hidden_dim=4")
    assert "  hidden_dim: 4\n" in smaller.out
    typo = cli(*show, *OWN, "--set", "model.hiden_dim=4")
    assert typo.code == 2 and "did you mean 'hidden_dim'?" in typo.err
    too_large = cli(*show, *OWN, "--set", "model.hidden_dim=4000")
    assert too_large.code == 2 and "model.hidden_dim" in too_large.err and "at most 1024" in too_large.err
    other = cli("resume", "--run", own.path, "--from", 5, "--set", "model.hidden_dim=4")
    assert other.code == 2 and "a trained network cannot change" in other.err


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("no_such_module:Net", "there is no module no_such_module, neither installed nor in the working directory"),
        ("own_network:Net", "AttributeError"),
        ("own_network:main", "has no config_class"),
        ("json:JSONDecoder", "has no config_class"),
        ("antigravity:fly", "antigravity defines no hifitse.PluginConfig"),
        ("sys:path", "has no config_class"),
        ("xml.dom.pulldom:SAX2DOM", "xml.dom.pulldom defines no hifitse.PluginConfig"),
    ],
)
def test_a_class_that_is_no_network_is_named(cli: Cli, kind: str, said: str) -> None:
    outcome = cli("config", "show", "--config", TINY, "--set", f"model.kind={kind}")
    assert outcome.code == 2 and f"model.kind: {kind}" in outcome.err.replace("--set model.kind=", "model.kind: ")
    assert said in outcome.err and "internal error" not in outcome.err
    # To import one is to run it, and a model file from somebody else may name any.
    assert "antigravity" not in sys.modules and "xml.dom.pulldom" not in sys.modules


def test_a_model_whose_class_is_not_here_says_so(
    cli: Cli, own: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "model.safetensors"
    assert cli("export", "--run", own.path, "--from", 12, "-o", model).code == 0
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place != str(EXAMPLES)])
    monkeypatch.delitem(sys.modules, "own_network")
    voice = sorted(SPEECH.rglob("*.flac"))[0]
    outcome = cli("extract", voice, voice, "-o", tmp_path / "voice.wav", "--model", model)
    assert outcome.code == 1 and "there is no module own_network" in outcome.err
