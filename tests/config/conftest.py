"""What the tests of the configuration share."""

from pathlib import Path

import pytest

from tests.config.basic import BASIC


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with configs/basic.yaml in it."""
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/basic.yaml").write_text(BASIC)
    monkeypatch.chdir(tmp_path)
    return tmp_path
