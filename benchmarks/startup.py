"""How fast the command line starts: `hifitse --help` and `hifitse runs` against a bare Typer app of as many commands.

    python benchmarks/startup.py [--rounds 15]

Each round starts all of them once, one after the other; the ratios are those of the medians.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from report import add_out, machine, write_figures

from hifitse.commands._app import COMMANDS

BARE = f"""
import typer
app = typer.Typer(help="A bare app.", no_args_is_help=True)
for name in {list(COMMANDS)!r}:
    @app.command(name)
    def command(value: str = typer.Option("x", help="A value.")) -> None:
        "Do something."
app()
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    add_out(parser)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder, "bare.py")
        bare.write_text(BARE)
        hifitse = str(Path(sys.executable).with_name("hifitse"))
        commands = {
            "bare typer app --help": [sys.executable, str(bare), "--help"],
            "hifitse --help": [hifitse, "--help"],
            "hifitse runs": [hifitse, "runs"],
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(options.rounds + 1):
            for name, command in commands.items():
                started = time.perf_counter()
                subprocess.run(command, cwd=folder, capture_output=True, check=True)
                times[name].append(time.perf_counter() - started)
    # The first round filled the caches.
    medians = {name: statistics.median(values[1:]) for name, values in times.items()}
    print(f"{machine()}; medians of {options.rounds} rounds")
    for name, seconds in medians.items():
        print(f"{name:22} {seconds:.3f} s  {seconds / medians['bare typer app --help']:.2f}x")
    write_figures(options.out, {"seconds": medians})


if __name__ == "__main__":
    main()
