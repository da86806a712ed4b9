"""How fast `hifitse extract` is, and how much memory it takes, for recordings of ten seconds to two hours.

    python benchmarks/extraction.py [--seconds 10 600 7200] [--out FILE]

The `attention` network at 16 kHz on one thread, after one step of training, which costs what a trained one does. Each
recording is a command of its own: a WAV file in, a WAV file out. The real-time factor is processor time over the length
of the recording, start-up included; of a short one, that is most of it.
"""

import argparse
import os
import tempfile
from pathlib import Path

import torch
from report import add_out, machine, run_measured, write_figures

from hifitse.audio.files import write_audio_blocks

RATE = 16_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, nargs="+", default=[10, 600, 7200])
    add_out(parser)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = ("model.kind=attention", f"audio.sample_rate={RATE}", "train.micro_batch_size=1")
        overrides = [part for setting in settings for part in ("--set", setting)]
        hifitse = ("-m", "hifitse")
        run_measured(*hifitse, "train", "--config", "demo", "--run", f"{folder}/run", "--stop-at", "1", *overrides)
        noise = torch.Generator().manual_seed(0)
        write_audio_blocks(folder / "reference.wav", [0.1 * torch.randn(5 * RATE, generator=noise).numpy()], RATE, 16)
        print(f"{machine()}\nrecording  real-time factor  by the clock  peak memory")
        for seconds in options.seconds:
            blocks = (0.1 * torch.randn(RATE, generator=noise).numpy() for _ in range(seconds))
            write_audio_blocks(folder / "mixture.wav", blocks, RATE, 16)
            paths = (f"{folder}/mixture.wav", f"{folder}/reference.wav", "-o", f"{folder}/voice.wav")
            clock, worked, peak = run_measured(*hifitse, "extract", *paths, "--run", f"{folder}/run", "--from", "last")
            print(f"{seconds:7} s  {worked / seconds:16.4f}  {clock:11.1f} s  {peak:7.0f} MiB", flush=True)
            rows.append({"seconds": seconds, "real_time_factor": worked / seconds, "clock": clock, "peak_mib": peak})
    write_figures(options.out, {"recordings": rows})


if __name__ == "__main__":
    main()
