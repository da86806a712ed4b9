"""What the benchmarks share: the name of the machine, a process that is measured, and the file with the figures."""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any


def cpu_name() -> str:
    """Return the processor's name, as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def machine(device: str = "cpu") -> str:
    """Return the name of what the measurement runs on."""
    # Not above: a child's peak memory is never below that of the process that started it.
    import torch

    if device == "cuda":
        return f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    return f"{cpu_name()}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def add_out(parser: argparse.ArgumentParser) -> None:
    """Add the option that every benchmark has."""
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")


def write_figures(out: Path | None, figures: dict[str, Any], device: str = "cpu") -> None:
    """Write figures, by names that have their units, into the file that ``--out`` names."""
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        load = os.getloadavg()[0]
        out.write_text(json.dumps({"machine": machine(device), "load": load, "figures": figures}, indent=1) + "\n")


def run_measured(*arguments: str) -> tuple[float, float, float]:
    """Run Python with arguments; return seconds by the clock, of the processor, and the peak memory in MiB."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = status
    if status:
        raise SystemExit(f"failed: {' '.join(arguments)}")
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
