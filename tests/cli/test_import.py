"""A checkpoint of the original script becomes a run that computes, and trains on, exactly as the original would."""

import errno
import hashlib
import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import soundfile
import torch
import yaml

from hifitse.checkpoint.file import load_checkpoint
from hifitse.checkpoint.weights import load_model
from hifitse.config.files import from_data
from hifitse.models.build import build_model
from hifitse.runs.records import read_metrics
from hifitse.runs.run import Run
from hifitse.storage import read_sealed
from hifitse.training.state import TrainState, from_checkpoint
from tests.helpers import DATA, SPEECH, Cli

ORIGINAL = DATA / "original"
CHECKPOINT = ORIGINAL / "tiny_checkpoint_0200000.pt"
CONFIG = ORIGINAL / "tiny.yaml"
CPU = torch.device("cpu")


@pytest.fixture
def imported(cli: Cli, tmp_path: Path) -> Run:
    assert cli("import", CHECKPOINT, "--config", CONFIG, "--run", tmp_path / "old").code == 0
    return Run(tmp_path / "old")


def state_of(run: Run, step: int = 200_000) -> TrainState:
    checkpoint = load_checkpoint(run.checkpoint_path(step))
    return from_checkpoint(checkpoint, from_data(checkpoint.header.config, "test"), CPU)


def test_the_imported_network_computes_what_the_original_computes(imported: Run) -> None:
    forward = safetensors.torch.load_file(ORIGINAL / "tiny_forward.safetensors")
    checkpoint = load_checkpoint(imported.checkpoint_path(200_000))
    ema = load_model(checkpoint, from_data(checkpoint.header.config, "test"), CPU, "ema")
    for model, name in ((state_of(imported).model.eval(), "estimate"), (ema, "estimate_ema")):
        estimate = model(forward["mixture"], forward["reference"])
        torch.testing.assert_close(estimate, forward[name], rtol=0, atol=1e-5)


def test_the_run_knows_where_it_comes_from(cli: Cli, tmp_path: Path) -> None:
    outcome = cli("import", CHECKPOINT, "--config", CONFIG, "--run", tmp_path / "old", "--json")
    digest = hashlib.sha256(CHECKPOINT.read_bytes()).hexdigest()
    origin = read_sealed(tmp_path / "old" / "origin.json")
    assert origin == {"source": CHECKPOINT.name, "digest": digest, "step": 200_000}
    assert load_checkpoint(Run(tmp_path / "old").checkpoint_path(200_000)).header.parent == digest
    said = json.loads(outcome.out)
    assert origin.items() <= said.items()
    assert (said["run"], said["tensors"], said["parameters"], said["moments"]) == ("old", 2000, 102_140, True)
    assert "hifitse resume" in outcome.err and "num_heads" in outcome.err


def test_one_step_from_the_imported_moments_is_torchs_own(imported: Run) -> None:
    content = torch.load(CHECKPOINT, weights_only=True)
    ours = state_of(imported)
    theirs = build_model(
        from_data(load_checkpoint(imported.checkpoint_path(200_000)).header.config, "test").model, 48000
    )
    theirs.load_state_dict(content["generator"])
    optimizer = torch.optim.AdamW(theirs.parameters())
    optimizer.load_state_dict(content["opt_G"])
    ours.optimizer.param_groups[0]["lr"] = optimizer.param_groups[0]["lr"]
    torch.manual_seed(0)
    for mine, other in zip(ours.model.parameters(), theirs.parameters(), strict=True):
        mine.grad = 1e-3 * torch.randn_like(mine)
        other.grad = mine.grad.clone()
    ours.optimizer.step()
    optimizer.step()
    for name, weight in theirs.state_dict().items():
        torch.testing.assert_close(ours.model.state_dict()[name], weight, rtol=0, atol=1e-6)
        assert not torch.equal(weight, content["generator"][name])


@pytest.mark.parametrize(("options", "updates"), [((), 3 + 2), (("--reset-optimizer",), 2)])
def test_a_resume_trains_on_in_the_phase_of_the_step(
    cli: Cli, imported: Run, options: tuple[str, ...], updates: int
) -> None:
    outcome = cli("resume", "--run", imported.path, "--from", 200_000, "--stop-at", 200_002, *options)
    assert outcome.code == 0
    assert "the corpus is not the one" not in outcome.err
    rows = [row for row in read_metrics(imported) if row.kind == "step"]
    assert [(row.step, row.get("phase")) for row in rows] == [(200_001, "tp_ta"), (200_002, "tp_ta")]
    assert imported.validation_steps() == [200_000], "what was imported is validated, to compare with"
    tensors = load_checkpoint(imported.checkpoint_path(200_002)).tensors
    assert {tensor.item() for name, tensor in tensors.items() if name.endswith("/step")} == {updates}
    assert cli("select-best", "--run", imported.path, "--require", "rms_ratio>=0").code == 0


def test_a_checkpoint_without_moments_rewarms_its_learning_rate(cli: Cli, tmp_path: Path) -> None:
    content = torch.load(CHECKPOINT, weights_only=True)
    del content["opt_G"]
    torch.save(content, tmp_path / "bare.pt")
    run = Run(tmp_path / "old")
    outcome = cli("import", tmp_path / "bare.pt", "--config", CONFIG, "--run", run.path)
    assert outcome.code == 0
    assert "no AdamW moments in the file" in outcome.err
    assert cli("resume", "--run", run.path, "--stop-at", 200_001).code == 0
    (row,) = [row for row in read_metrics(run) if row.kind == "step"]
    assert row.get("learning_rate") < 2e-4 / 400


def test_half_precision_is_imported_and_reported(cli: Cli, tmp_path: Path) -> None:
    content = torch.load(CHECKPOINT, weights_only=True)
    for part in ("generator", "ema_generator"):
        content[part] = {
            name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in content[part].items()
        }
    torch.save(content, tmp_path / "half.pt")
    outcome = cli("import", tmp_path / "half.pt", "--config", CONFIG, "--run", tmp_path / "old")
    assert outcome.code == 0
    assert "800 of its 2000 tensors are float16" in outcome.err


class Evil:
    """Leaves a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def changed(change: Callable[[dict[str, Any]], object]) -> bytes:
    content = torch.load(CHECKPOINT, weights_only=True)
    change(content)
    return saved(content)


def saved(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("notes/readme.txt", "no checkpoint")
    return buffer.getvalue()


def wav() -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, [0.0] * 100, 8000, format="WAV")
    return buffer.getvalue()


def flipped(position: int) -> bytes:
    data = bytearray(CHECKPOINT.read_bytes())
    data[position] ^= 1
    return bytes(data)


def nested() -> list[Any]:
    """Return a list that would take 2^60 words to be written out."""
    lists: list[Any] = [0]
    for _ in range(60):
        lists = [lists, lists]
    return lists


def compressed() -> bytes:
    """Return an archive whose parts are larger than the file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(CHECKPOINT.read_bytes())) as archive, zipfile.ZipFile(buffer, "w") as made:
        for name in archive.namelist():
            made.writestr(name, archive.read(name), zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


FOREIGN = "not a training checkpoint of the original script"
NAME = "usef.norm.weight"
BROKEN: dict[str, tuple[Callable[[], bytes], str]] = {
    "truncated": (lambda: CHECKPOINT.read_bytes()[:1_000_000], "damaged or cut short"),
    "flipped bit": (lambda: flipped(1_000_000), "wrong checksum"),
    "empty": (lambda: b"", FOREIGN),
    "text": (lambda: b"step: 200000\n", FOREIGN),
    "zip": (zipped, FOREIGN),
    "wav": (wav, FOREIGN),
    "tensor": (lambda: saved(torch.ones(3)), "it holds a Tensor"),
    "other script": (lambda: saved({"model": {}, "epoch": 3}), "no step, generator, ema_generator in it, but model"),
    "no step": (lambda: changed(lambda c: c.update(step="last")), "its step is a str"),
    "a step of lists": (lambda: changed(lambda c: c.update(step=nested())), "its step is a list"),
    "a step far away": (lambda: changed(lambda c: c.update(step=10**12)), "its step is out of range"),
    "weights of lists": (
        lambda: changed(lambda c: c["generator"].update(dict.fromkeys(c["generator"], nested()))),
        "weights of another architecture",
    ),
    "moments of lists": (
        lambda: changed(lambda c: c["opt_G"]["state"].update({0: dict.fromkeys(c["opt_G"]["state"][0], nested())})),
        "a list, should be a dense tensor",
    ),
    "groups without end": (
        lambda: changed(lambda c: c["opt_G"].update(param_groups=[{"params": list(range(1000))}] * 10**6)),
        "its opt_G is no state of AdamW",
    ),
    "names of numbers": (lambda: changed(lambda c: c["generator"].update({1: 2})), "no tensors by name"),
    "compressed": (compressed, FOREIGN),
    "no weights": (lambda: changed(lambda c: c.update(generator=[])), "no tensors by name"),
    "no optimizer": (lambda: changed(lambda c: c.update(opt_G=[1])), "no state of AdamW"),
    "other architecture": (
        lambda: changed(lambda c: c.update(generator={"conv.weight": torch.ones(3, 3)})),
        "another architecture (conv.weight",
    ),
    "missing tensor": (lambda: changed(lambda c: c["generator"].pop(NAME)), f"model/{NAME}: missing"),
    "unknown tensor": (
        lambda: changed(lambda c: c["generator"].update(extra=torch.ones(1))),
        "model/extra: unknown",
    ),
    "misshapen tensor": (
        lambda: changed(lambda c: c["generator"].update({NAME: torch.ones(15)})),
        f"model/{NAME}: shape (15,), should be (16,)",
    ),
    "infinite": (lambda: changed(lambda c: c["generator"][NAME].fill_(torch.inf)), f"model/{NAME}: not finite"),
}


@pytest.mark.parametrize(("content", "said"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_file_is_named_and_leaves_nothing(
    cli: Cli, tmp_path: Path, content: Callable[[], bytes], said: str
) -> None:
    (tmp_path / "broken.pt").write_bytes(content())
    outcome = cli("import", tmp_path / "broken.pt", "--config", CONFIG, "--run", tmp_path / "old")
    assert outcome.code == 1
    assert "broken.pt" in outcome.err and said in outcome.err
    assert [path.name for path in tmp_path.iterdir()] == ["broken.pt"]


def test_a_file_that_would_run_code_is_refused(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "evil.pt").write_bytes(changed(lambda c: c.update(patience_counter=Evil(tmp_path / "harm"))))
    outcome = cli("import", tmp_path / "evil.pt", "--config", CONFIG, "--run", tmp_path / "old")
    assert outcome.code == 1
    assert "refused" in outcome.err and "mkdir" in outcome.err
    assert len(outcome.err.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["evil.pt"]


def test_a_folder_and_a_missing_file_are_named(cli: Cli, tmp_path: Path) -> None:
    for path, said in ((ORIGINAL, "a folder"), (tmp_path / "none.pt", "No such file")):
        outcome = cli("import", path, "--config", CONFIG, "--run", tmp_path / "old")
        assert outcome.code == 1
        assert str(path) in outcome.err and said in outcome.err
        assert not (tmp_path / "old").exists()


def test_another_network_is_refused_with_the_overrides_that_fit(cli: Cli, tmp_path: Path) -> None:
    full = DATA.parents[1] / "configs" / "hifi_tse.yaml"
    outcome = cli("import", CHECKPOINT, "--config", full, "--run", tmp_path / "old")
    assert outcome.code == 2
    assert "model.feature_dim: 128 configured, 16 in the file; --set model.feature_dim=16" in outcome.err
    assert not (tmp_path / "old").exists()
    fixes = [line.partition("--set ")[2].strip("'") for line in outcome.err.splitlines()[1:]]
    options = [part for fix in [*fixes, "model.num_heads=2"] for part in ("--set", fix)]
    assert cli("import", CHECKPOINT, "--config", full, "--run", tmp_path / "old", *options).code == 0
    model = yaml.safe_load((tmp_path / "old" / "config.yaml").read_text())["model"]
    assert (model["feature_dim"], model["num_blocks"], model["reinject_at"]) == (16, 2, [0, 1])


def test_a_run_that_exists_is_not_overwritten(cli: Cli, imported: Run) -> None:
    before = imported.checkpoint_path(200_000).read_bytes()
    outcome = cli("import", CHECKPOINT, "--config", CONFIG, "--run", imported.path)
    assert outcome.code == 2
    assert "this run exists" in outcome.err
    assert imported.checkpoint_path(200_000).read_bytes() == before


def test_an_import_that_a_full_disk_ended_can_be_repeated(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(safetensors.torch, "save_file", fail)
        outcome = cli("import", CHECKPOINT, "--config", CONFIG, "--run", tmp_path / "old")
    assert outcome.code == 1
    assert "No space left" in outcome.err
    assert not Run(tmp_path / "old").exists()
    assert cli("import", CHECKPOINT, "--config", CONFIG, "--run", tmp_path / "old").code == 0


def test_an_imported_run_is_extracted_from(cli: Cli, imported: Run, tmp_path: Path) -> None:
    voices = sorted(SPEECH.rglob("*.flac"))
    outcome = cli("extract", voices[0], voices[-1], "-o", tmp_path / "a.wav", "--run", imported.path, "--from", "last")
    assert outcome.code == 0
    assert soundfile.info(tmp_path / "a.wav").samplerate == soundfile.info(voices[0]).samplerate
