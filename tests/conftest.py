"""What all tests share: the bundled corpus, a cache folder of their own, the command line and a trained run.

The command line runs in this process mostly: starting Python and torch each time would take minutes.
"""

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import pytest

from hifitse.cli import main
from hifitse.config.schema import Config
from hifitse.distributed.signals import SIGNALS
from tests.helpers import DEMO_CORPUS, TINY, Cli, Outcome, fill_group


@pytest.fixture(autouse=True)
def cache_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test reads or writes the user's cache."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


@pytest.fixture(scope="session", autouse=True)
def trackio_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where trackio keeps its data, in this process and those that tests start; it reads the name once."""
    folder = tmp_path_factory.mktemp("trackio")
    os.environ["TRACKIO_DIR"] = str(folder)
    return folder


@pytest.fixture(scope="session")
def demo_corpus() -> Path:
    """Real speech, noise and rooms at 16 kHz; four speakers."""
    return DEMO_CORPUS


@pytest.fixture(scope="session")
def hdf5_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled corpus as speech.h5, noise.h5 and rir.h5; tests copy what they change."""
    root = tmp_path_factory.mktemp("hdf5")
    for kind in ("speech", "noise", "rir"):
        with h5py.File(root / f"{kind}.h5", "w") as file:
            file.attrs["sample_rate"] = 16000
            folders = sorted(path for path in (DEMO_CORPUS / kind).iterdir() if path.is_dir())
            if kind == "speech":
                file["speaker_ids"] = [folder.name for folder in folders]
            for folder in folders:
                fill_group(file.create_group(folder.name), sorted(folder.iterdir()))
            if kind == "noise":
                fill_group(file, sorted((DEMO_CORPUS / kind).iterdir()))
            if kind == "rir":
                fill_group(file.create_group("slr28"), sorted((DEMO_CORPUS / kind).iterdir()))
    return root


@pytest.fixture
def make_config() -> Callable[..., Config]:
    """Build a small config on the bundled corpus; sections are given as dicts and merged with the defaults below."""

    def make(**sections: Any) -> Config:
        demo = {name: DEMO_CORPUS / name for name in ("speech", "noise", "rir")}
        given: dict[str, Any] = {
            "audio": {"sample_rate": 8000, "mixture_seconds": 2.0, "reference_seconds": 1.5},
            "data": {**demo, "num_workers": 0},
            "mixing": {"num_interferers": (1, 2)},
            "train": {"batch_size": 4, "micro_batch_size": 2},
            "validation": {"num_scenes": 10, "num_train_scenes": 5, "batch_size": 4},
            "curriculum": [{"name": "tp", "until": 2, "absent_ratio": 0}, {"name": "tp_ta", "absent_ratio": 0.3}],
            "model": {"kind": "compact"},
        }
        for name, section in sections.items():
            merges = isinstance(section, dict) and isinstance(given.get(name), dict)
            given[name] = {**given[name], **section} if merges else section
        return Config(**given)

    return make


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Run ``hifitse`` with these arguments."""

    def call(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["hifitse", *map(str, arguments)])
        capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 0
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err, captured.err
        return Outcome(code, captured.out, captured.err)

    return call


@pytest.fixture(scope="session")
def _trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished tiny run; tests get copies of it."""
    path = tmp_path_factory.mktemp("trained") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(path.parent / "cache"))
        patch.setattr(sys, "argv", ["hifitse", "train", "--config", str(TINY), "--run", str(path)])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 0
    return path


@pytest.fixture
def trained(_trained: Path, tmp_path: Path) -> Path:
    """A finished tiny run, free to change: 12 steps, checkpoints every 2, validations every 4."""
    return Path(shutil.copytree(_trained, tmp_path / "trained"))


_HANDLERS = {number: signal.getsignal(number) for number in SIGNALS} | {
    # Under nohup it is ignored, and would be in processes that tests start.
    signal.SIGHUP: signal.SIG_DFL
}


@pytest.fixture(autouse=True)
def signal_handlers() -> Iterator[None]:
    """The command line is the end of a process, so it leaves signals as it needs them."""
    _set_handlers()
    yield
    _set_handlers()


def _set_handlers() -> None:
    for number, handler in _HANDLERS.items():
        signal.signal(number, handler)
