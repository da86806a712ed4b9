"""How long a training waits for one save of the full-size model, against writing it while the training waits.

    python benchmarks/saving.py [--device cuda] [--rounds 9] [--seconds 0.1] [--folder .]

Each round measures, one after the other: a save that the training waits for; the stall of a save in the background; a
training step (forward, backward, optimizer; one scene) without and with a save in flight. Times are wall-clock times
of medians; fractions are of the same run.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from report import add_out, machine, write_figures

from hifitse.checkpoint.file import save_checkpoint
from hifitse.config.files import load_config
from hifitse.experiment import Experiment
from hifitse.json_log import JsonLog
from hifitse.runs.events import EventLog
from hifitse.runs.run import Run
from hifitse.training.saving.saver import Saver
from hifitse.training.state import TrainState, header, new_state, to_tensors

CONFIG = Path(__file__).parents[1] / "configs" / "hifi_tse.yaml"


def step(state: TrainState, experiment: Experiment, seconds: float) -> None:
    """Train on a scene of noise."""
    samples = round(seconds * experiment.config.audio.sample_rate)
    mixture, reference = (0.1 * torch.randn(1, samples, device=experiment.device) for _ in range(2))
    state.optimizer.zero_grad(set_to_none=True)
    with experiment.autocast():
        loss = (state.model(mixture, reference) - mixture).abs().mean()
    loss.backward()
    state.optimizer.step()
    if experiment.device.type == "cuda":
        torch.cuda.synchronize()


def measure(device: str, rounds: int, seconds: float, folder: Path) -> dict[str, float]:
    experiment = Experiment.build(load_config(CONFIG), torch.device(device))
    state = new_state(experiment.config, experiment.device)
    step(state, experiment, seconds)
    run = Run(folder / "run")
    run.path.mkdir()
    path = folder / "waited_for.safetensors"
    times: dict[str, list[float]] = {
        "waited for": [],
        "stall": [],
        "in flight": [],
        "step": [],
        "step while saving": [],
    }

    def clock(name: str, action: Callable[[], object]) -> None:
        start = time.perf_counter()
        action()
        times[name].append(time.perf_counter() - start)

    def next_step() -> None:
        # A state that is saved already is not saved again.
        run.checkpoint_path(state.step).unlink()
        state.step += 1

    size = sum(tensor.nbytes for tensor in to_tensors(state).values()) / 1e6
    with Saver(run, experiment, EventLog(run, print), JsonLog(run.metrics_path), lambda: None) as saver:
        start = time.perf_counter()
        saver.save(state)
        first = time.perf_counter() - start
        saver.flush()
        for _ in range(rounds):
            clock("waited for", lambda: save_checkpoint(path, header(state, experiment), to_tensors(state)))
            next_step()
            clock("stall", lambda: saver.save(state))
            clock("in flight", saver.flush)
            clock("step", lambda: step(state, experiment, seconds))
            next_step()
            saver.save(state)
            clock("step while saving", lambda: step(state, experiment, seconds))
            saver.flush()
    medians = {name: statistics.median(values) for name, values in times.items()}
    fractions = sorted(s / w for s, w in zip(times["stall"], times["waited for"], strict=True))
    print(f"{machine(device)}; {size:.0f} MB, median of {rounds} rounds (lowest to highest)")
    for name, values in times.items():
        print(f"{name:18} {medians[name]:7.3f} s  ({min(values):.3f} to {max(values):.3f})")
    print(f"the first save, which allocates the memory for the copy, stalls for {first:.3f} s")
    print(
        f"stall over waited for: {100 * medians['stall'] / medians['waited for']:.1f}% "
        f"(rounds: {100 * fractions[0]:.1f} to {100 * fractions[-1]:.1f}%)"
    )
    slower = statistics.median(b - a for a, b in zip(times["step"], times["step while saving"], strict=True))
    print(f"a save in flight adds {slower:.3f} s to a step")
    return medians | {"first stall": first, "added to a step": slower}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.1, help="of the scene in a step")
    parser.add_argument("--folder", type=Path, default=Path("."), help="on the disk to measure")
    add_out(parser)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder, prefix=".saving-") as folder:
        found = measure(options.device, options.rounds, options.seconds, Path(folder))
    write_figures(options.out, {"seconds": found}, options.device)


if __name__ == "__main__":
    main()
