"""How many scenes one core renders in a second: the full mixing, at 48 kHz and in a small setting.

python benchmarks/loader.py                          the bundled corpus (16 kHz files)
python benchmarks/loader.py SPEECH --noise N --rir R any other corpus
"""

import argparse
import time
from pathlib import Path
from statistics import median

from report import add_out, cpu_name, write_figures
from rich.console import Console
from rich.table import Table

from hifitse.config.data import DataConfig, MixingConfig, Phase
from hifitse.config.files import BUNDLED
from hifitse.config.model import CompactConfig
from hifitse.config.schema import AudioConfig, Config
from hifitse.corpus.corpus import load_corpus
from hifitse.mixing.curriculum import settings_at
from hifitse.mixing.fork_server import keep_freed_memory
from hifitse.mixing.rendering import render_index
from hifitse.mixing.scenes import draw_scene

DEMO_CORPUS = BUNDLED / "demo_corpus"
SETTINGS = {
    "48 kHz, 4 s, 1 to 3 interferers": (AudioConfig(), (1, 3)),
    "8 kHz, 2 s, 1 to 2 interferers": (
        AudioConfig(sample_rate=8000, mixture_seconds=2, reference_seconds=2),
        (1, 2),
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("speech", nargs="?", type=Path, default=DEMO_CORPUS / "speech")
    parser.add_argument("--noise", type=Path, nargs="*", default=[DEMO_CORPUS / "noise"])
    parser.add_argument("--rir", type=Path, nargs="*", default=[DEMO_CORPUS / "rir"])
    parser.add_argument("--scenes", type=int, default=40, help="scenes in a run")
    parser.add_argument("--runs", type=int, default=5, help="runs, of which the median is reported")
    add_out(parser)
    options = parser.parse_args()
    keep_freed_memory()  # as loader processes do
    data = DataConfig(speech=(options.speech,), noise=tuple(options.noise), rir=tuple(options.rir))

    table = Table(title=f"one core of {cpu_name()}")
    for column in ("setting", "scenes per core second: median", "least", "most", "by the clock", "draw, µs"):
        table.add_column(column)
    found = {}
    for name, (audio, num_interferers) in SETTINGS.items():
        config = Config(
            audio=audio,
            data=data,
            mixing=MixingConfig(num_interferers=num_interferers),
            curriculum=(Phase(name="tp_ta", absent_ratio=0.2),),
            model=CompactConfig(kind="compact"),
        )
        rates, by_the_clock, draw_seconds = measure(config, options.scenes, options.runs)
        found[name] = {"per_core_second": median(rates), "by_the_clock": median(by_the_clock), "draw_s": draw_seconds}
        numbers = (median(rates), min(rates), max(rates), median(by_the_clock), 1e6 * draw_seconds)
        table.add_row(name, *(f"{number:.1f}" for number in numbers))
    Console().print(table)
    write_figures(options.out, {"scenes": found})


def measure(config: Config, num_scenes: int, num_runs: int) -> tuple[list[float], list[float], float]:
    """Return the scenes per second of each run by processor time and by the clock, and the seconds of a draw.

    Other programs slow down the second figure only. All runs render the same scenes; one run before them fills
    the system's file cache.
    """
    pool = load_corpus(config).train
    settings = settings_at(config, 0)
    rates, by_the_clock = [], []
    for _ in range(num_runs + 1):
        worked, started = time.process_time(), time.perf_counter()
        for index in range(num_scenes):
            render_index(0, "benchmark", index, settings, pool, config.audio, config.mixing)
        rates.append(num_scenes / (time.process_time() - worked))
        by_the_clock.append(num_scenes / (time.perf_counter() - started))
    worked = time.process_time()
    for index in range(1000):
        draw_scene(0, "benchmark", index, settings, pool, config.audio)
    return rates[1:], by_the_clock[1:], (time.process_time() - worked) / 1000


if __name__ == "__main__":
    main()
