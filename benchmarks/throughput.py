"""How many scenes a second the demo's validation and its training do, the latter on one and on two ranks.

    python benchmarks/throughput.py [--steps 100] [--rounds 3] [--out FILE]

Both by the clock, loader processes included, one thread for each rank; medians. Rounds of one and of two ranks take
turns; the training's figure is that of its own last line, over the last 50 steps.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

import torch
from report import add_out, machine, write_figures

from hifitse.config.files import load_config
from hifitse.evaluation.validation import validate
from hifitse.experiment import Experiment
from hifitse.training.step import TrainingSession


def validation_rate(rounds: int) -> float:
    """Return the scenes a second of a validation, of EMA and model weights, in this process."""
    experiment = Experiment.build(load_config("demo"), torch.device("cpu"))
    state = TrainingSession.fresh(experiment).state
    times = []
    # The first round decodes the files.
    for _ in range(rounds + 1):
        started = time.perf_counter()
        validate(state.ema, state.model, experiment, 0)
        times.append(time.perf_counter() - started)
    return experiment.config.validation.num_scenes / statistics.median(times[1:])


def training_rate(num_ranks: int, steps: int) -> float:
    """Return the scenes a second of a training of so many steps."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "hifitse", "train", "--config", "demo", "--run", f"{folder}/run"]
        command += ["--ranks", str(num_ranks), "--stop-at", str(steps), "--set", f"train.log_every={steps}"]
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=True)
    return float(re.findall(r"scenes/s ([\d.]+)", done.stderr)[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    add_out(parser)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    rounds = [[training_rate(ranks, options.steps) for ranks in (1, 2)] for _ in range(options.rounds)]
    one, two = (statistics.median(column) for column in zip(*rounds, strict=True))
    figures = {
        "validation_scenes_per_second": validation_rate(options.rounds),
        "training_scenes_per_second": {"1 rank": one, "2 ranks": two},
        "two_ranks_over_one": statistics.median(b / a for a, b in rounds),
    }
    print(f"{machine()}, {os.cpu_count()} cores; medians of {options.rounds}")
    print(f"validation          {figures['validation_scenes_per_second']:6.1f} scenes/s")
    print(f"training, 1 rank    {one:6.1f} scenes/s")
    print(f"training, 2 ranks   {two:6.1f} scenes/s, {figures['two_ranks_over_one']:.2f}x")
    write_figures(options.out, figures)


if __name__ == "__main__":
    main()
