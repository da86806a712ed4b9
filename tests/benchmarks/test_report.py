"""What the benchmarks share, and that `make bench` gets a file from each of them."""

import json
from pathlib import Path

import pytest

from benchmarks.report import run_measured, write_figures

ROOT = Path(__file__).parents[2]


def test_every_benchmark_of_make_bench_writes_its_figures() -> None:
    (line,) = [line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith("BENCHMARKS := ")]
    for name in line.split()[2:]:
        source = (ROOT / "benchmarks" / f"{name}.py").read_text()
        assert "add_out(parser)" in source and "write_figures(options.out, " in source, name


def test_figures_are_written_with_their_machine(tmp_path: Path) -> None:
    write_figures(tmp_path / "new" / "speed.json", {"seconds": 1.5})
    written = json.loads((tmp_path / "new" / "speed.json").read_text())
    assert written["figures"] == {"seconds": 1.5} and "torch" in written["machine"]
    write_figures(None, {"seconds": 1.5})


def test_a_process_is_measured_from_outside() -> None:
    clock, worked, peak = run_measured("-c", "held = bytes(100 * 2**20)")
    assert 0 < worked and 0 < clock and peak > 100
    with pytest.raises(SystemExit, match="failed: -c 1/0"):
        run_measured("-c", "1/0")
