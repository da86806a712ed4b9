"""Does a model hold on voices that it has never heard? Settings side by side, on speakers that are held out.

    python benchmarks/strangers.py --speech FOLDER [FOLDER ...] [--seeds 3] [--out runs/strangers]

Every arm is trained by the product's own `train`, with the default guards, for as many steps as the demo has. What it
ends with is its last validation: at the end, or where a guard has stopped it. Writes table.md and results.json. A run
that is there is not repeated, and one that was interrupted goes on.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hifitse.evaluation.intervals import clustered_interval
from hifitse.evaluation.result import ValidationResult, read_result
from hifitse.runs.records import read_events
from hifitse.runs.run import Run
from hifitse.storage import write_text

ARMS = {
    "demo with AdamW": ("demo", ("train.optimizer={kind: adamw, betas: [0.9, 0.98]}",)),
    "voices": ("voices", ()),
}
"""Configuration and further settings of each arm."""
SCENES = "validation.num_scenes=500"
"""As few TA scenes as `demo` has, 20, tell suppression to 1 or 2 dB."""


@dataclass(frozen=True)
class Ending:
    """How a run ended."""

    result: ValidationResult
    stopped_by: str | None
    """The guard, or None: it ran through."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", type=Path, nargs="+", required=True, help="folders of speakers")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS), metavar="ARM")
    parser.add_argument("--out", type=Path, default=Path("runs/strangers"))
    options = parser.parse_args()
    endings = {
        arm: [train(arm, seed, options.speech, options.out) for seed in range(options.seeds)] for arm in options.arms
    }
    lines = table(endings)
    write_text(options.out / "table.md", "\n".join(lines) + "\n")
    rows = [
        {"arm": arm, "seed": seed, "step": ending.result.step, "stopped_by": ending.stopped_by, **ending.result.metrics}
        for arm, found in endings.items()
        for seed, ending in enumerate(found)
    ]
    write_text(options.out / "results.json", json.dumps(rows, indent=1) + "\n")
    print("\n".join(lines))


def train(arm: str, seed: int, speech: Sequence[Path], out: Path) -> Ending:
    """Train an arm, unless that is done, and return how it ended."""
    config, further = ARMS[arm]
    run = Run(out / "".join(c if c.isalnum() else "_" for c in arm) / f"seed{seed}")
    ending = end_of(run) if run.exists() else None
    if ending is None:
        folders = ", ".join(json.dumps(str(path.resolve())) for path in speech)
        settings = (f"data.speech=[{folders}]", "data.split=speaker", SCENES, f"seed={seed}", *further)
        start = ["resume"] if run.exists() else ["train", "--config", config]
        overrides = [part for setting in settings for part in ("--set", setting)]
        # 3: a guard has stopped it, which is a result like any.
        done = subprocess.run([sys.executable, "-m", "hifitse", *start, "--run", str(run.path), *overrides])
        if (ending := end_of(run)) is None:
            raise SystemExit(f"{run.path}: {start[0]} ended with {done.returncode}")
    return ending


def end_of(run: Run) -> Ending | None:
    """Return how a run ended; None: it has not yet."""
    events = [event for event in read_events(run) if event.kind in ("finished", "stopped")]
    if not events or not run.validation_steps():
        return None
    last = events[-1]
    guard = str(last.get("guard")) if last.kind == "stopped" else None
    return Ending(read_result(run, run.validation_steps()[-1]), guard)


def table(endings: dict[str, list[Ending]]) -> list[str]:
    """Return the lines of the table: means over the seeds, with intervals by speaker, and each seed's."""
    columns = ("settings", "SI-SDRi of unseen voices, dB", "over the first", "of each seed", "of training voices")
    lines = [f"| {' | '.join(columns)} | rms_ratio | rejected | TA suppression, dB | stopped |", "|---" * 9 + "|"]
    first = improvements(next(iter(endings.values())))
    for arm, found in endings.items():
        ours = improvements(found)
        over = {scene: (value - first[scene][0], speaker) for scene, (value, speaker) in ours.items()}
        known = statistics.mean((ending.result.train_metrics or {})["tp_si_sdri"] for ending in found)
        stops = [f"{ending.stopped_by} at {ending.result.step}" if ending.stopped_by else "-" for ending in found]
        lines.append(
            f"| {arm} | {in_words(ours)} | {'' if ours == first else in_words(over)} | {each(found, 'tp_si_sdri')} "
            f"| {known:.2f} | {each(found, 'rms_ratio')} | {each(found, 'rejection_rate', 100, 0)} % "
            f"| {each(found, 'ta_suppression_db', 1, 1)} | {', '.join(stops)} |"
        )
    return lines


def improvements(found: Sequence[Ending]) -> dict[int, tuple[float, str]]:
    """Return the SI-SDRi of each TP scene, the mean over the seeds, with its speaker."""
    values: dict[int, list[float]] = {}
    speakers: dict[int, str] = {}
    for ending in found:
        for sample in ending.result.samples:
            if sample.si_sdri_db is not None:
                values.setdefault(sample.index, []).append(sample.si_sdri_db)
                speakers[sample.index] = str(sample.speaker)
    return {scene: (statistics.mean(of_seeds), speakers[scene]) for scene, of_seeds in values.items()}


def in_words(scenes: dict[int, tuple[float, str]]) -> str:
    """Return a mean with its 95 % interval by speaker."""
    interval = clustered_interval(*map(list, zip(*scenes.values(), strict=True)))
    return f"{interval.mean:.2f} ({interval.low:.2f} to {interval.high:.2f})"


def each(found: Sequence[Ending], name: str, factor: float = 1, digits: int = 2) -> str:
    """Return a metric of each seed."""
    return ", ".join(f"{factor * ending.result.metrics[name]:.{digits}f}" for ending in found)


if __name__ == "__main__":
    main()
