"""What a training adds to its kernels: a step of every model, the same in a bare loop, and the kernels alone.

    python benchmarks/step.py [--models compact attention ...] [--config demo] [--steps 8] [--out FILE]
    python benchmarks/step.py --steps 3 --models "attention, 48 kHz" "band_attention, 48 kHz, compiled"    # ten minutes

kernels: the time in matrix products, attention, LSTMs and Fourier transforms, as a share that a profiler measures.
bare: forward, objective, backward, clipping, optimizer and EMA on batches that are there; what anyone would write.
step: the same by the training loop's own step, which also measures, checks for guards and agrees among ranks.
Of a compiled network kernels and bare are those of the same one as it is.
training: steps with loader processes, by the clock, and which share of it they wait for scenes.

Rounds of all but the last take turns in one process, by processor time of one thread; figures are medians.
"""

import argparse
import contextlib
import os
import statistics
import time
from collections.abc import Callable, Sequence

import torch
from report import add_out, machine, write_figures
from rich.console import Console
from rich.table import Table
from torch.profiler import ProfilerActivity, profile

from hifitse.config.files import load_config
from hifitse.experiment import Experiment
from hifitse.mixing.batch import MicroBatch, step_counts
from hifitse.schedule import ema_decay
from hifitse.training.state import TrainState, new_state, update_ema
from hifitse.training.step import TrainingSession, train_step

os.environ["KINETO_LOG_LEVEL"] = "5"  # the profiler talks a lot
KERNELS = ("mm", "attention", "lstm", "rnn", "mkldnn", "fft", "linear", "convolution")
"""Parts of the names of operations that do the arithmetic; all else moves numbers or is elementwise."""
AT_48K = [
    "audio.sample_rate=48000",
    "audio.mixture_seconds=4",
    "audio.reference_seconds=4",
    "train.optimizer={kind: muon}",
    "train.batch_size=2",
    "train.micro_batch_size=1",
]
"""Steps of two scenes of 4 s, one after the other: networks of a size for that take seconds for one."""
OF_DEMO = {
    "compact": ["train.optimizer={kind: adamw}"],
    "attention": ["model={kind: attention}", "train.optimizer={kind: muon}"],
    "attention, bfloat16": ["model={kind: attention}", "train.optimizer={kind: muon}", "train.precision=bfloat16"],
    "attention, compiled": ["model={kind: attention}", "train.optimizer={kind: muon}", "train.compile=true"],
    "attention, compiled, bfloat16": [
        "model={kind: attention}",
        "train.optimizer={kind: muon}",
        "train.compile=true",
        "train.precision=bfloat16",
    ],
    "band_attention": [
        "model={kind: band_attention, stft: {n_fft: 256, window: 256, hop: 128}, num_bands: 24, feature_dim: 48, "
        "hidden_dim: 96, num_blocks: 3, num_heads: 4, num_reference_blocks: 1}",
        "train.optimizer={kind: muon}",
        "train.batch_size=4",
        "train.micro_batch_size=4",
    ],
    "grid": [
        "model={kind: grid, stft: {n_fft: 256, window: 256, hop: 128}, bands: 16, feature_dim: 16, "
        "lstm_hidden: 32, num_blocks: 2, num_heads: 2, reinject_at: []}",
        "train.batch_size=4",
        "train.micro_batch_size=4",
    ],
}
"""Small networks, in the settings of the demo."""
MODELS = OF_DEMO | {
    "attention, 48 kHz": [
        *AT_48K,
        "model={kind: attention, stft: {n_fft: 2048, window: 2048, hop: 512}, feature_dim: 512, num_layers: 4, "
        "num_heads: 8, hidden_dim: 1024}",
    ],
    "band_attention, 48 kHz": [*AT_48K, "model={kind: band_attention, activation_checkpointing: false}"],
    "band_attention, 48 kHz, compiled": [
        *AT_48K,
        "model={kind: band_attention, activation_checkpointing: false}",
        "train.compile=true",
    ],
}


def bare_step(state: TrainState, batches: Sequence[MicroBatch], experiment: Experiment, step: int) -> None:
    """Do what a step of training computes, and nothing else."""
    counts, has_absent = step_counts(experiment.config, step), True
    state.optimizer.zero_grad(set_to_none=True)
    for batch in batches:
        with experiment.autocast():
            estimate = state.model(batch.mixture, batch.reference)
        sums = experiment.objective.sums(estimate, batch.target, batch.mixture, batch.present, has_absent)
        experiment.objective.loss(sums, counts, has_absent).backward()
    torch.nn.utils.clip_grad_norm_(state.model.parameters(), experiment.config.train.clip_norm)
    state.optimizer.step()
    update_ema(state.ema, state.model, ema_decay(experiment.config.train, step))


def seconds_of(action: Callable[[], object]) -> float:
    started = time.process_time()
    action()
    return time.process_time() - started


def kernel_share(action: Callable[[], object]) -> float:
    """Return which share of the time of an action is spent in KERNELS; a profiler slows all down alike."""
    with profile(activities=[ProfilerActivity.CPU], acc_events=True) as found:
        action()
    times = {event.key.lower(): event.self_cpu_time_total for event in found.key_averages()}
    of_kernels = sum(seconds for key, seconds in times.items() if any(name in key for name in KERNELS))
    return of_kernels / sum(times.values())


def measure(settings: Sequence[str], config: str, steps: int) -> dict[str, float]:
    """Return the figures of one model, see above."""
    experiment = Experiment.build(load_config(config, ["train.cpu_threads=1", *settings]), torch.device("cpu"))
    # A step of the second phase, where there are TA scenes.
    step = experiment.config.curriculum[-2].until if len(experiment.config.curriculum) > 1 else 0
    assert step is not None
    with contextlib.closing(experiment.training_batches(step, step + 1)) as rendered:
        batches = list(rendered)
    state = new_state(experiment.config, experiment.device)
    shares, bare, own = [], [], []
    for _ in range(steps + 1):
        shares.append(kernel_share(lambda: bare_step(state, batches, experiment, step)))
        bare.append(seconds_of(lambda: bare_step(state, batches, experiment, step)))
        state.step = step
        own.append(seconds_of(lambda: train_step(state, batches, experiment)))
    session = TrainingSession.fresh(experiment)
    session.state.step = step
    stamps, waits = [time.perf_counter()], [0.0]
    for _ in session.steps(step + steps + 2):
        stamps.append(time.perf_counter())
        waits.append(session.waited_seconds)
    # The first rounds are for warming up.
    figures = {"bare": statistics.median(bare[1:]), "step": statistics.median(own[1:])}
    figures["step over kernels"] = figures["step"] / figures["bare"] / statistics.median(shares[1:])
    figures["step over bare"] = statistics.median(o / b for o, b in zip(own[1:], bare[1:], strict=True))
    figures["training"] = (stamps[-1] - stamps[2]) / steps
    figures["waiting"] = (waits[-1] - waits[2]) / (stamps[-1] - stamps[2])
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=[*MODELS], default=list(OF_DEMO))
    parser.add_argument("--config", default="demo")
    parser.add_argument("--steps", type=int, default=8)
    add_out(parser)
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = {name: measure(MODELS[name], options.config, options.steps) for name in options.models}
    table = Table(title=f"{machine()}; medians of {options.steps}")
    table.add_column("model", width=15)
    for column in ("bare, s", "step, s", "step /\nbare", "step /\nkernels", "training,\ns", "waiting"):
        table.add_column(column, no_wrap=True)
    for name, figures in found.items():
        times = [f"{figures[key]:.3f}" for key in ("bare", "step", "step over bare", "step over kernels")]
        table.add_row(name, *times, f"{figures['training']:.3f}", f"{figures['waiting']:.1%}")
    Console().print(table)
    write_figures(options.out, {"models": found})


if __name__ == "__main__":
    main()
