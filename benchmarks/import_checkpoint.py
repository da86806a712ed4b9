"""Time and peak memory of `hifitse import` of a full-size checkpoint of the original script, moments included.

    python benchmarks/import_checkpoint.py [--repeats 3] [--folder DIR]

Measured from outside, of the whole process: wall-clock time and peak resident memory. The same for a process that only
loads what the command loads (Python, torch, this library), since that is most of it.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from report import add_out, run_measured, write_figures

CONFIG = Path(__file__).parents[1] / "configs" / "hifi_tse.yaml"
LIBRARY = "import hifitse.cli, hifitse.checkpoint.original_convert"


def write_original(path: Path) -> None:
    """Write a checkpoint with the layout of the original's: 11.8 M weights, their average, two moments each."""
    import torch

    from hifitse.config.files import load_config
    from hifitse.models.build import build_model

    torch.manual_seed(0)
    model = build_model(load_config(CONFIG).model, 48000)
    optimizer = torch.optim.AdamW(model.parameters(), 2e-4, (0.8, 0.99))
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    averaged = torch.optim.swa_utils.AveragedModel(model)
    content = {"step": 200_000, "generator": model.state_dict(), "ema_generator": averaged.state_dict()}
    torch.save(content | {"opt_G": optimizer.state_dict(), "patience_counter": 0}, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where to work (default: the system's temporary folder)")
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    add_out(parser)
    options = parser.parse_args()
    if options.write:
        write_original(options.write)
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        file = Path(folder) / "checkpoint_0200000.pt"
        # In a process of its own: a child's peak memory is never below that of the process that started it.
        subprocess.run([sys.executable, __file__, "--write", str(file)], check=True)
        print(f"a checkpoint of {file.stat().st_size / 1e6:.1f} MB; medians of {options.repeats}")
        imports, starts = [], []
        for number in range(options.repeats):
            starts.append(run_measured("-c", LIBRARY))
            command = ("-m", "hifitse", "import", str(file), "--config", str(CONFIG), "--run", f"{folder}/{number}")
            imports.append(run_measured(*command))
        figures = {}
        for label, rows in (("hifitse import", imports), ("start-up alone", starts)):
            seconds, _, peak = (statistics.median(column) for column in zip(*rows, strict=True))
            figures[label] = {"seconds": seconds, "peak_mib": peak}
            print(f"{label:15} {seconds:5.2f} s, peak {peak:5.0f} MiB")
    write_figures(options.out, figures)


if __name__ == "__main__":
    main()
