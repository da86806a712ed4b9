"""Drives the real command line, mostly in this process: starting Python and torch each time would take minutes."""

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from hifitse.cli import main

DATA = Path(__file__).parents[1] / "data"
TINY = DATA / "tiny.yaml"
SPEECH = DATA / "demo_corpus" / "speech"


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


Cli = Callable[..., Outcome]


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
    """A finished tiny run, free to change: 12 steps, checkpoints every 2, exams every 4."""
    return Path(shutil.copytree(_trained, tmp_path / "trained"))
