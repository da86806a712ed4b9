"""Time and peak memory of one forward and backward pass of the full 48 kHz models, on one scene of 4 seconds.

    python benchmarks/full_model.py [--models grid band_attention] [--device cuda] [--repeats 3] [--threads 1]

Each measurement runs in a process of its own, so that its peak memory is its own: of the whole process on a CPU, of
the tensors on a GPU. On a GPU the model runs in bfloat16 autocast, as in training. On a CPU, seconds are of processor
time divided by the threads, which other work on the machine disturbs less; with one thread they are the most honest.
"""

import argparse
import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import time

import torch
from report import add_out, machine, write_figures

from hifitse.config.model import BandAttentionConfig, GridConfig
from hifitse.models.build import build_model

SECONDS, SAMPLE_RATE = 4, 48_000
MIB = 2**20
CONFIGS = {"grid": GridConfig, "band_attention": BandAttentionConfig}


def measure(kind: str, device: str, repeats: int, batch: int, recompute: bool) -> dict[str, float]:
    """Return the median seconds of forward and backward, and the peak memory in MiB, in this process."""
    torch.manual_seed(0)
    model = build_model(CONFIGS[kind](kind=kind, activation_checkpointing=recompute), 48000).to(device).train()
    mixture, reference = (0.1 * torch.randn(batch, SECONDS * SAMPLE_RATE, device=device) for _ in range(2))

    def clock() -> float:
        if device == "cuda":
            torch.cuda.synchronize()
            return time.perf_counter()
        return time.process_time() / torch.get_num_threads()

    rows = []
    for _ in range(repeats + 1):
        model.zero_grad(set_to_none=True)
        start = clock()
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            loss = (model(mixture, reference) - mixture).abs().mean()
        middle = clock()
        loss.backward()
        rows.append((middle - start, clock() - middle))
    # The first round is for warming up.
    forward, backward = (statistics.median(column) for column in zip(*rows[1:], strict=True))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if device == "cuda":
        peak = torch.cuda.max_memory_allocated() / MIB
    return {"forward": forward, "backward": backward, "peak": peak}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=list(CONFIGS), default=list(CONFIGS))
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch", type=int, default=1, help="scenes of 4 s in the batch")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads")
    add_out(parser)
    parser.add_argument("--measure", choices=["recompute", "keep"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.measure:
        recompute = options.measure == "recompute"
        print(json.dumps(measure(options.models[0], options.device, options.repeats, options.batch, recompute)))
        return
    load = os.getloadavg()[0]
    what = f"{options.batch} scene(s) of {SECONDS} s, median of {options.repeats}"
    print(f"{machine(options.device)}, load {load:.1f}; {what}")
    rows = []
    variants = (("activation checkpointing", "recompute"), ("all activations kept", "keep"))
    for kind, (label, variant) in itertools.product(options.models, variants):
        arguments = ["--device", options.device, "--repeats", str(options.repeats), "--batch", str(options.batch)]
        arguments += ["--threads", str(options.threads)]
        command = [sys.executable, __file__, "--models", kind, *arguments, "--measure", variant]
        result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        row = json.loads(result.stdout)
        rows.append({"network": kind, "variant": variant, **row})
        print(
            f"{kind:14} {label:25} forward {row['forward']:6.3f} s, backward {row['backward']:6.3f} s, "
            f"together {row['forward'] + row['backward']:6.3f} s, peak {row['peak']:6.0f} MiB"
        )
    write_figures(options.out, {"scenes": options.batch, "seconds_and_peak_mib": rows}, options.device)


if __name__ == "__main__":
    main()
