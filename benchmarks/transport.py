"""How long a training waits for a micro-batch that is ready: loader processes of hifitse against torch's DataLoader.

    python benchmarks/transport.py [--batches 100]

Both render the scenes of the demo in one process. Between two batches the training sleeps, so that the next one is
ready by then; then it copies the batch, as a model would read it.
"""

import argparse
import statistics
import time
import warnings
from collections.abc import Iterator

import torch
from report import add_out, machine, write_figures
from torch.utils.data import DataLoader

from hifitse.config.files import load_config
from hifitse.corpus.corpus import load_corpus
from hifitse.mixing.batch import MicroBatch
from hifitse.mixing.fork_server import Failure, Job
from hifitse.mixing.loader import ALONE, _Items, _TrainingScenes
from hifitse.mixing.workers import render

_PAUSE_SECONDS = 0.2


def wait_seconds(batches: Iterator[MicroBatch | Failure], num_batches: int) -> tuple[float, float]:
    """Return the median of the waits without the first ones, while processes start, and the megabytes of a batch."""
    waits, num_bytes = [], 0
    for _ in range(num_batches + 5):
        time.sleep(_PAUSE_SECONDS)
        started = time.perf_counter()
        batch = next(batches)
        assert isinstance(batch, MicroBatch)
        copies = [tensor.clone() for tensor in (batch.mixture, batch.reference, batch.target)]
        waits.append(time.perf_counter() - started)
        num_bytes = sum(tensor.nbytes for tensor in copies)
    return statistics.median(waits[5:]), num_bytes / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=100)
    add_out(parser)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    config = load_config("demo")
    scenes, items = _TrainingScenes(config, load_corpus(config).train, ALONE), _Items(range(10**6), range(1))
    ours = render(Job(scenes, items, prefetch=4), num_workers=1, timeout_seconds=60, pinned=False)
    theirs = iter(
        DataLoader(
            scenes,  # type: ignore[arg-type]
            batch_size=None,
            sampler=[items[turn] for turn in range(10_000)],
            num_workers=1,
            prefetch_factor=4,
            multiprocessing_context="forkserver",
        )
    )
    print(f"{machine()}; medians of {options.batches} batches")
    figures = {}
    for name, batches in (("hifitse", ours), ("DataLoader", theirs)):
        seconds, megabytes = wait_seconds(batches, options.batches)
        figures[name] = {"seconds": seconds, "megabytes": megabytes}
        print(f"{name:12} {1000 * seconds:.2f} ms for {megabytes:.1f} MB")
    write_figures(options.out, figures)


if __name__ == "__main__":
    main()
