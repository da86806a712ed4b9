"""What a file claims to be is compared with its tensors before it takes memory or time."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from hifitse.checkpoint.weights import weightless_model
from hifitse.config.files import load_config
from hifitse.config.schema import Config
from hifitse.models.build import build_model
from hifitse.runs.run import Run
from tests.checkpoint.forging import forge
from tests.helpers import NETWORKS, SPEECH, TINY, Cli

Change = Callable[[dict[str, Any], dict[str, torch.Tensor]], object]
MIXTURE, REFERENCE = (sorted(SPEECH.rglob("*.flac"))[i] for i in (0, -1))


@pytest.mark.parametrize("config", [load_config("hifi_tse"), *(load_config(TINY, [n]) for n in NETWORKS.values())])
def test_a_network_without_weights_has_their_shapes_and_computes_the_same_once_they_are_assigned(
    config: Config,
) -> None:
    model = build_model(config.model, config.audio.sample_rate).eval()
    weightless = weightless_model(config.model, config.audio.sample_rate).eval()
    assert {parameter.device.type for parameter in weightless.parameters()} == {"meta"}
    assert {buffer.device.type for buffer in weightless.buffers()} == {"cpu"}
    weightless.load_state_dict(model.state_dict(), assign=True)
    voice = torch.randn(1, 6000, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(weightless(voice, voice), model(voice, voice))


@pytest.fixture
def model(cli: Cli, trained: Path, tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    assert cli("export", "--run", trained, "--from", 8, "-o", path).code == 0
    return path


FORGERIES: dict[str, tuple[Change, str]] = {
    "more memory than there is": (lambda h, t: h["config"]["model"].update(lstm_hidden=100_000), "lstm_hidden"),
    "as large as may be": (lambda h, t: h["config"]["model"].update(lstm_hidden=4096, feature_dim=2048), "not fit"),
    "many layers": (lambda h, t: h["config"]["model"].update(num_layers=10**6), "num_layers"),
    "a few more layers": (lambda h, t: h["config"]["model"].update(num_layers=64), "does not fit"),
    "no network": (lambda h, t: h["config"].pop("model"), "model: Field required"),
    "no audio": (lambda h, t: h["config"].pop("audio"), "audio: Field required"),
    "no rate": (lambda h, t: h["config"]["audio"].update(sample_rate=10**9), "sample_rate"),
    "an unknown kind": (lambda h, t: h["config"]["model"].update(kind="huge"), "model: "),
    "a list": (lambda h, t: h.update(config=[1]), "config: "),
    "no step": (lambda h, t: h.pop("step"), "step: "),
    "a step of text": (lambda h, t: h.update(step="8"), "step: "),
    "an unknown key": (lambda h, t: h.update(more=1), "more"),
    "another version": (lambda h, t: h.update(format_version=2), "format version 2"),
    "NaN": (lambda h, t: t["norm.bias"].fill_(torch.nan), "norm.bias first"),
    "infinity": (lambda h, t: t["norm.weight"][:1].fill_(torch.inf), "norm.weight first"),
    "a tensor less": (lambda h, t: t.pop("norm.bias"), "1 tensors differ, norm.bias first"),
    "a tensor more": (lambda h, t: t.update(more=torch.ones(1)), "1 tensors differ, more first"),
    "integers": (lambda h, t: t.update({"norm.bias": t["norm.bias"].long()}), "norm.bias first"),
    "another shape": (lambda h, t: t.update({"norm.bias": t["norm.bias"][:3].clone()}), "norm.bias first"),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_model_is_refused_at_once(cli: Cli, model: Path, tmp_path: Path, forgery: str) -> None:
    change, said = FORGERIES[forgery]
    forge(model, change)
    started = time.monotonic()
    outcome = cli("extract", MIXTURE, REFERENCE, "-o", tmp_path / "out.wav", "--model", model)
    assert outcome.code == 1 and said in outcome.err, outcome.err
    assert "internal error" not in outcome.err and len(outcome.err.splitlines()) == 1
    assert time.monotonic() - started < 10
    assert not (tmp_path / "out.wav").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda h, t: t["optimizer/norm.bias/exp_avg"].resize_(3), "optimizer/norm.bias/exp_avg first"),
        (lambda h, t: t.pop("optimizer/norm.bias/step"), "optimizer/norm.bias/step first"),
        (lambda h, t: t.update({"optimizer/other/step": torch.ones(())}), "optimizer/other/step first"),
        (lambda h, t: t["model/norm.bias"].fill_(torch.nan), "not all finite (1 tensors, norm.bias first)"),
        (lambda h, t: h["watch"].update(norms="x"), "watch"),
        (lambda h, t: h["watch"].update(more=1), "watch"),
        (lambda h, t: h.update(learning_rate_factor=-1), "learning_rate_factor"),
        (lambda h, t: h.update(optimizer_reset_step=10**9), "optimizer_reset_step"),
    ],
)
def test_a_forged_checkpoint_is_no_state_to_go_on_from(cli: Cli, trained: Path, change: Change, said: str) -> None:
    run = Run(trained)
    forge(run.checkpoint_path(8), change)
    outcome = cli("resume", "--run", trained, "--from", 8)
    assert outcome.code == 1 and said in outcome.err, outcome.err
    assert "internal error" not in outcome.err
    assert run.checkpoint_steps() == [2, 4, 6, 8, 10, 12]


def test_a_resume_of_a_file_builds_no_network_that_its_tensors_are_not_of(cli: Cli, trained: Path) -> None:
    path = Run(trained).checkpoint_path(8)
    forge(path, lambda h, t: h["config"]["model"].update(lstm_hidden=4096, feature_dim=2048, num_layers=4))
    started = time.monotonic()
    outcome = cli("resume", "--from", path, "--as", trained.parent / "fork")
    assert outcome.code == 1 and "does not fit the configured model" in outcome.err
    assert time.monotonic() - started < 20
    assert not (trained.parent / "fork").exists()
