"""Which store reads random 4 s crops at 48 kHz fastest, and whether HDF5 files can be read for weeks.

python benchmarks/stores.py                          all of it: two minutes, 700 MB in the temporary folder
python benchmarks/stores.py --reads 0                the stores only

Every store is read the way a loader would: the file is opened, the crop read as float32 and checked, the file closed.
"""

import argparse
import os
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import h5py
import numpy as np
import soundfile as sf
from report import add_out, cpu_name, write_figures
from rich.console import Console
from rich.table import Table

from hifitse.audio.files import Samples, read_audio, write_audio_blocks
from hifitse.config.files import BUNDLED

SPEECH = BUNDLED / "demo_corpus" / "speech"
RATE = 48000
CROP = 4 * RATE
FILES, SECONDS = 40, 12

console = Console(highlight=False)
Read = Callable[[int, int], Samples]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="rounds over all files, of which the median is reported")
    parser.add_argument("--reads", type=int, default=100_000, help="reads of the HDF5 file in the endurance test")
    add_out(parser)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        stores = make_stores(Path(name))
        figures = {"seconds": compare(stores, options.rounds)}
        if options.reads:
            endure(Path(name) / "many.h5", options.reads)
    write_figures(options.out, figures)


def make_stores(folder: Path) -> dict[str, tuple[Read, Callable[[int], Path]]]:
    """Write the same speech in every form; return how a crop of recording n is read, and its file."""
    sources = sorted(SPEECH.rglob("*.flac"))
    with h5py.File(folder / "all.h5", "w") as file:
        file.attrs["sample_rate"] = RATE
        for number in range(FILES):
            parts = [read_audio(path, RATE) for path in random.Random(number).sample(sources, 8)]
            samples = np.clip(np.resize(np.concatenate(parts), SECONDS * RATE), -1, 0.999)
            sf.write(folder / f"{number}.flac", samples, RATE, subtype="PCM_16")
            for bits in (16, 32):
                write_audio_blocks(folder / f"{number}_{bits}.wav", [samples], RATE, 16 if bits == 16 else 32)
            np.save(folder / f"{number}.npy", samples)
            file[str(number)] = samples

    def memory_map(number: int, begin: int) -> Samples:
        crop = np.array(np.load(folder / f"{number}.npy", mmap_mode="r")[begin : begin + CROP])
        assert np.isfinite(crop).all()
        return crop

    def stored(pattern: str) -> tuple[Read, Callable[[int], Path]]:
        def read(number: int, begin: int) -> Samples:
            return read_audio(folder / pattern.format(number), RATE, begin / RATE, CROP)

        return read, lambda number: folder / pattern.format(number).partition("::")[0]

    return {
        "WAV, 16 bits": stored("{}_16.wav"),
        "WAV, 32-bit float": stored("{}_32.wav"),
        "NumPy memory map": (memory_map, lambda number: folder / f"{number}.npy"),
        "HDF5, contiguous": stored("all.h5::{}"),
        "FLAC, 16 bits": stored("{}.flac"),
    }


def compare(stores: dict[str, tuple[Read, Callable[[int], Path]]], rounds: int) -> dict[str, dict[str, float]]:
    """Print and return the median time of a crop in each store, from memory and from the disk; rounds take turns."""
    seconds: dict[tuple[str, bool], list[float]] = {(name, cold): [] for name in stores for cold in (False, True)}
    for turn in range(rounds):
        for cold in (False, True):
            for name, (read, path) in stores.items():
                draws = random.Random(turn)
                for number in range(FILES):
                    if cold:
                        forget(path(number))
                    else:
                        read(number, 0)
                    begin = draws.randrange(SECONDS * RATE - CROP)
                    started = time.perf_counter()
                    read(number, begin)
                    seconds[name, cold].append(time.perf_counter() - started)
    table = Table(title=f"a random 4 s crop at 48 kHz, one core of {cpu_name()}", box=None)
    for column in ("store", "in memory, µs", "ratio", "on disk, µs", "ratio", "MB an hour"):
        table.add_column(column, justify="left" if column == "store" else "right")
    first = next(iter(stores))
    for name, (_, path) in stores.items():
        files = {path(number) for number in range(FILES)}
        figures = []
        for cold in (False, True):
            middle = median(seconds[name, cold])
            figures += [f"{1e6 * middle:.0f}", f"{middle / median(seconds[first, cold]):.2f}"]
        size = sum(file.stat().st_size for file in files) / (FILES * SECONDS) * 3600
        table.add_row(name, *figures, f"{size / 1e6:.0f}")
    console.print(table)
    return {
        name: {"in memory": median(seconds[name, False]), "on disk": median(seconds[name, True])} for name in stores
    }


def forget(path: Path) -> None:
    """Drop a file from the system's file cache; what the disk itself keeps is beyond reach."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def endure(path: Path, reads: int) -> None:
    """Print time, memory and open files over many reads of an HDF5 file with 20 000 recordings."""
    with h5py.File(path, "w") as file:
        file.attrs["sample_rate"] = RATE
        for number in range(20_000):
            file[f"{number // 100}/{number % 100}"] = np.zeros(RATE // 20, np.float32)
    table = Table(title=f"{reads} reads of 0.04 s from one HDF5 file", box=None)
    for column in ("handle", "reads", "µs a read", "memory grown, kB", "open files"):
        table.add_column(column, justify="left" if column == "handle" else "right")
    for name in ("opened each time", "kept open"):
        kept = h5py.File(path, "r") if name == "kept open" else None
        draws = random.Random(0)
        size, started = resident_kilobytes(), time.process_time()
        for done in range(1, reads + 1):
            dataset, begin = f"{draws.randrange(200)}/{draws.randrange(100)}", draws.randrange(RATE // 100)
            if kept is None:
                read_audio(f"{path}::{dataset}", RATE, begin / RATE, RATE // 25)
            else:
                assert np.isfinite(kept[dataset][begin : begin + RATE // 25]).all()
            if done in (reads // 100, reads // 10, reads):
                each = 1e6 * (time.process_time() - started) / done
                grown = resident_kilobytes() - size
                table.add_row(name, str(done), f"{each:.0f}", str(grown), str(len(os.listdir("/proc/self/fd"))))
    console.print(table)


def resident_kilobytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


if __name__ == "__main__":
    main()
