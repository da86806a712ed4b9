"""How fast the causal attention model runs on a live signal, and how late: one core, 48 kHz.

    python benchmarks/streaming.py [--seconds 20] [--chunk-ms 10]

The real-time factor is processor time over the time of the signal, model and transforms together; fresh weights cost
what trained ones do. The latency is that of the algorithm: a chunk, and its computation, come on top.
"""

import argparse
import time

import torch
from report import add_out, write_figures

from hifitse.config.model import AttentionConfig, StftConfig
from hifitse.models.attention import AttentionModel
from hifitse.models.build import num_parameters
from hifitse.streaming import StreamingAttention

RATE = 48_000
CONFIGS = {
    "small": AttentionConfig(
        kind="attention", stft=StftConfig(n_fft=960, window=960, hop=480), causal=True, context_frames=300
    ),
    "large": AttentionConfig(
        kind="attention",
        stft=StftConfig(n_fft=2048, window=2048, hop=512),
        feature_dim=512,
        num_layers=4,
        num_heads=8,
        hidden_dim=1024,
        causal=True,
        context_frames=280,
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--chunk-ms", type=float, default=10)
    add_out(parser)
    options = parser.parse_args()
    torch.set_num_threads(1)
    mixture = 0.1 * torch.randn(1, round(options.seconds * RATE))
    chunk = round(options.chunk_ms * RATE / 1000)
    print("| network | parameters | latency, ms | real-time factor | slowest chunk, ms |")
    print("|---|---|---|---|---|")
    figures = {}
    for name, config in CONFIGS.items():
        model = AttentionModel(config, RATE).eval()
        streaming = StreamingAttention(model, 0.1 * torch.randn(1, 4 * RATE))
        times = []
        for start in range(0, mixture.shape[1], chunk):
            before = time.process_time()
            streaming(mixture[:, start : start + chunk])
            times.append(time.process_time() - before)
        # In the first context the attention has less to read.
        steady = times[len(times) // 2 :]
        factor = sum(steady) / (len(steady) * chunk / RATE)
        latency = 1000 * streaming.latency_samples / RATE
        print(
            f"| {name} | {num_parameters(model):,} | {latency:.1f} | {factor:.3f} | {1000 * max(steady):.1f} |",
            flush=True,
        )
        figures[name] = {"latency_ms": latency, "real_time_factor": factor, "slowest_chunk_ms": 1000 * max(steady)}
    write_figures(options.out, figures)


if __name__ == "__main__":
    main()
