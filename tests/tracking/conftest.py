"""What the tests of this folder share."""

from pathlib import Path

import pytest

from hifitse.runs.run import Run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "demo")
