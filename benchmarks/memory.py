"""Memory of a training step of the full 48 kHz networks, by segment, micro-batch and recomputation.

    python benchmarks/memory.py [--networks grid band_attention] [--precision bfloat16] [--out FILE]

What `train.micro_batch_size: auto` goes by: the bytes of all tensors of a forward and backward pass that are there at a
time, and those of the weights with their EMA, gradients and moments. Kernels that make room for more than they fill, as
those of LSTMs on a CPU do, count with all of it; a GPU's context and the gaps of its allocator come on top.
"""

import argparse
from dataclasses import replace
from typing import Any

import torch
from report import add_out, machine, write_figures

from hifitse.config.files import load_config
from hifitse.experiment import Experiment
from hifitse.training.memory import measure

CASES = ((1, 4), (1, 2), (1, 8), (2, 4), (4, 4))
"""Micro-batch, and seconds of a scene and of its reference."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=["grid", "band_attention"])
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="bfloat16", help="as on a GPU")
    parser.add_argument("--limit", type=float, default=10, help="GB, above which a case is left out")
    add_out(parser)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    experiment = Experiment.build(load_config("hifi_tse"), torch.device("cpu"))
    print(f"{machine()}; {options.precision}\nnetwork          recomputing  micro-batch  seconds       GB")
    for network in options.networks:
        for recompute in (True, False):
            expected = 0.0
            for batch, seconds in CASES:
                # Bytes grow with both at least in proportion.
                if expected * batch * seconds / 4 > options.limit:
                    continue
                lengths = (f"audio.mixture_seconds={seconds}", f"audio.reference_seconds={seconds}")
                settings = (f"model={{kind: {network}}}", f"train.precision={options.precision}", *lengths)
                case = replace(experiment, config=load_config("hifi_tse", settings))
                peak, weights = measure(case, recompute, batch)
                gigabytes = (peak + 4 * weights) / 1e9
                expected = expected or gigabytes
                print(f"{network:16} {recompute!s:11}  {batch:11}  {seconds:7}  {gigabytes:7.2f}", flush=True)
                rows.append(
                    {"network": network, "recomputing": recompute, "micro_batch": batch, "seconds": seconds}
                    | {"gigabytes": gigabytes}
                )
    write_figures(options.out, {"precision": options.precision, "cases": rows})


if __name__ == "__main__":
    main()
