"""Speed and memory of every network at 48 kHz, by micro-batch, compiled and not: a table, in ten minutes at most.

    python benchmarks/gpu_models.py [--device cuda] [--seconds 600] [--out runs/gpu]

A round is the forward and backward pass of 4 s scenes, in bfloat16 autocast as in training, without recomputation. Each
row is a process of its own, so that its memory is its own and what runs out of it ends nothing else. Arithmetic is
counted (matrix products, attention, convolutions by torch; LSTMs by their sizes), three times the forward pass. Rows
come in the order of their micro-batches, so that every network has some when the time is over. Writes models.md and
models.json.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from hifitse.config.model import (
    AttentionConfig,
    BandAttentionConfig,
    CompactConfig,
    GridConfig,
    ModelConfig,
    StftConfig,
)
from hifitse.models.build import build_model

SECONDS, SAMPLE_RATE = 4, 48_000
STFT = StftConfig(n_fft=2048, window=2048, hop=512)
NETWORKS: dict[str, ModelConfig] = {
    "band_attention": BandAttentionConfig(kind="band_attention", activation_checkpointing=False),
    "attention": AttentionConfig(
        kind="attention", stft=STFT, feature_dim=512, num_heads=8, hidden_dim=1024, num_layers=4
    ),
    "compact": CompactConfig(kind="compact", stft=STFT, feature_dim=512, lstm_hidden=512),
    "grid": GridConfig(kind="grid", activation_checkpointing=False),
}
MICRO_BATCHES = (1, 2, 4, 8, 16, 32)
Row = dict[str, Any]


def measure(network: str, micro_batch: int, device: str, compiled: bool, rounds: int, seconds: float) -> Row:
    """Return the figures of one row, in this process."""
    torch.set_float32_matmul_precision("high")
    model = build_model(NETWORKS[network], SAMPLE_RATE).to(device).train()
    mixture, reference = 0.1 * torch.randn(2, micro_batch, round(seconds * SAMPLE_RATE), device=device)
    flops = 3 * forward_flops(model, mixture, reference)
    if compiled:
        model.compile()
    times = []
    # The first two compile, choose kernels and get memory.
    for _ in range(rounds + 2):
        model.zero_grad(set_to_none=True)
        synchronize(device)
        started = time.perf_counter()
        with torch.autocast(torch.device(device).type, torch.bfloat16):
            estimate = model(mixture, reference)
        (estimate - mixture).abs().mean().backward()
        synchronize(device)
        times.append(time.perf_counter() - started)
    median = statistics.median(times[2:])
    row = {"seconds": median, "scenes_per_second": micro_batch / median, "tflops": flops / median / 1e12}
    if device.startswith("cuda"):
        row["gib"] = torch.cuda.max_memory_allocated() / 2**30
    return row


def synchronize(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def forward_flops(model: nn.Module, mixture: torch.Tensor, reference: torch.Tensor) -> int:
    """Return the floating-point operations of a forward pass, two to a multiplication with its addition."""
    of_lstms = 0

    def count(lstm: nn.Module, inputs: tuple[torch.Tensor, ...], _: object) -> None:
        nonlocal of_lstms
        assert isinstance(lstm, nn.LSTM)
        steps = inputs[0].numel() // inputs[0].shape[-1]
        weights = sum(weight.numel() for name, weight in lstm.named_parameters() if name.startswith("weight"))
        of_lstms += 2 * steps * weights

    hooks = [part.register_forward_hook(count) for part in model.modules() if isinstance(part, nn.LSTM)]
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(mixture, reference)
    for hook in hooks:
        hook.remove()
    return of_lstms + int(counter.get_total_flops())


def all_rows(options: argparse.Namespace) -> list[Row]:
    deadline = time.monotonic() + options.seconds
    rows = []
    too_large: set[tuple[str, bool]] = set()
    for micro_batch in options.micro_batches:
        for network in options.networks:
            for compiled in (False, True) if options.compile else (False,):
                left = deadline - time.monotonic()
                if left < 5 or (network, compiled) in too_large:
                    continue
                command = [sys.executable, __file__, "--row", network, str(micro_batch), str(int(compiled))]
                command += ["--device", options.device, "--length", str(options.length)]
                row: Row = {"network": network, "micro_batch": micro_batch, "compiled": compiled}
                try:
                    done = subprocess.run(command, capture_output=True, text=True, timeout=left)
                    failed = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
                    row |= {"error": failed[:120]} if done.returncode else json.loads(done.stdout.splitlines()[-1])
                except subprocess.TimeoutExpired:
                    row["error"] = "no time left"
                if "error" in row:
                    too_large.add((network, compiled))
                print(line(row), flush=True)
                rows.append(row)
    return rows


def line(row: Row) -> str:
    """Return a row of the table."""
    head = f"| {row['network']} | {row['micro_batch']} | {'yes' if row['compiled'] else 'no'} |"
    if "error" in row:
        return f"{head} {row['error']} | | | |"
    memory = f"{row['gib']:.1f}" if "gib" in row else ""
    return f"{head} {row['seconds']:.4f} | {row['scenes_per_second']:.1f} | {row['tflops']:.2f} | {memory} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=600, help="for all rows together")
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--micro-batches", nargs="+", type=int, default=list(MICRO_BATCHES))
    parser.add_argument("--length", type=float, default=SECONDS, help="of a scene, in seconds")
    parser.add_argument("--no-compile", dest="compile", action="store_false")
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"))
    parser.add_argument("--row", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.row:
        network, micro_batch, compiled = options.row
        rounds = 5 if options.device.startswith("cuda") else 1
        print(json.dumps(measure(network, int(micro_batch), options.device, compiled == "1", rounds, options.length)))
        return
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        sys.exit("no GPU here; --device cpu --length 0.5 --micro-batches 1 runs the same on a CPU")
    name = torch.cuda.get_device_name() if options.device.startswith("cuda") else platform.processor() or "CPU"
    heading = f"{name}, torch {torch.__version__}: forward and backward of {options.length:g} s at 48 kHz, bfloat16"
    table = [
        "| network | micro-batch | compiled | seconds | scenes/s | TFLOP/s | GiB |",
        "|---|---|---|---|---|---|---|",
    ]
    print(heading, *table, sep="\n")
    rows = all_rows(options)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "models.md").write_text("\n".join([f"# {heading}", "", *table, *map(line, rows), ""]))
    (options.out / "models.json").write_text(json.dumps({"machine": heading, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
