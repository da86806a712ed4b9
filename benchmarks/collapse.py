"""The failure that hifitse was born from, and its cure: one weak first phase, six objectives, three seeds.

    python benchmarks/collapse.py [--seeds 3] [--out runs/collapse]

From a shared checkpoint at the end of a short phase `tp`, each arm goes on through `tp_ta` with its own objective.
Everything is done by the product's own commands: `train`, `resume --from STEP --as RUN --set ...`, `select-best`. The
guards only warn here, so that every arm shows its whole way; where each default guard would have stopped it is
computed from its validations. The faulty objective and the default one are run with the default guards as well. Writes
table.md, results.json and collapse.png, checks what is claimed of them, and exits with 1 if a claim does not hold.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from collapse_figure import Result, draw

from hifitse.config.files import load_config
from hifitse.config.policies import Guard, HealthConfig
from hifitse.evaluation.guards import StepMetrics, judge, read_history
from hifitse.evaluation.result import read_result
from hifitse.runs.records import Row, read_events
from hifitse.runs.run import Run

CONFIG = Path(__file__).parents[1] / "configs" / "collapse.yaml"
ONLY_WARN = tuple(f"health.guards.{name}.action=warn" for name in ("level_low", "level_high", "quality_lost"))
ANCHOR = "loss.amplitude_weight"
ARMS = {
    "no TA term": ("loss.ta_weight=0",),
    "raw_db": ("loss.absent.kind=raw_db",),
    "hinge": ("loss.absent.kind=hinge",),
    "hinge + anchor 1": ("loss.absent.kind=hinge", f"{ANCHOR}=1"),
    "hinge + anchor 5 (default)": ("loss.absent.kind=hinge", f"{ANCHOR}=5"),
    "relative + anchor 5": ("loss.absent.kind=relative", f"{ANCHOR}=5"),
}
CONTROL, RAW, HINGE, DEFAULT = "no TA term", "raw_db", "hinge", "hinge + anchor 5 (default)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("runs/collapse"))
    parser.add_argument("--jobs", type=int, default=2, help="arms at a time; each one uses one core")
    options = parser.parse_args()
    started = time.monotonic()
    results = run_all(options.seeds, options.out, options.jobs)
    guarded = {
        (arm, seed): with_guards(arm, seed, options.out) for arm in (RAW, DEFAULT) for seed in range(options.seeds)
    }
    table, claims = make_table(results), check_claims(results, guarded)
    minutes = (time.monotonic() - started) / 60
    lines = [table, "", *claims, "", f"{len(results)} arms in {minutes:.1f} min"]
    (options.out / "table.md").write_text("\n".join(lines) + "\n")
    (options.out / "results.json").write_text(json.dumps([vars(result) for result in results], indent=1))
    draw(results, options.out / "collapse.png")
    sys.stdout.write("\n".join(lines) + f"\nwritten to {options.out}\n")
    sys.exit(any(line.startswith("FAIL") for line in claims))


def run_all(num_seeds: int, out: Path, num_jobs: int) -> list[Result]:
    """Train the shared first phases, then every arm; a run that is already there is not repeated."""
    jobs = [(arm, seed) for seed in range(num_seeds) for arm in ARMS]
    with ThreadPoolExecutor(num_jobs) as pool:
        list(pool.map(lambda seed: first_phase(seed, out), range(num_seeds)))
        return list(pool.map(lambda job: one_arm(job[0], job[1], out), jobs))


def first_phase(seed: int, out: Path) -> None:
    end = phase_end()
    base = base_run(seed, out)
    if end not in base.checkpoint_steps():
        say(f"seed {seed}: first phase")
        hifitse("train", "--config", CONFIG, "--run", base.path, "--stop-at", end, *settings([f"seed={seed}"]))


def one_arm(arm: str, seed: int, out: Path) -> Result:
    run = Run(out / f"seed{seed}" / folder_name(arm))
    end = load_config(CONFIG).train.total_steps
    if end not in run.validation_steps():
        say(f"seed {seed}: {arm}")
        overrides = settings([*ARMS[arm], *ONLY_WARN])
        start = ("--run", base_run(seed, out).path, "--from", phase_end(), "--as", run.path)
        hifitse("resume", *start, "--allow-unsafe-objective", *overrides)
    found = [read_result(run, step) for step in run.validation_steps() if step >= phase_end()]
    picks = {
        "val_loss": picked(run, "val_loss", "--require", "val_loss>=-1000"),
        "tp_si_sdr alone": picked(run, "tp_si_sdr", "--require", "rms_ratio>=0"),
        "within the gate": picked(run, "tp_si_sdr"),
    }
    return Result(arm, seed, [r.step for r in found], [r.metrics for r in found], default_guards(run), picks)


def with_guards(arm: str, seed: int, out: Path) -> Row:
    """Run an arm with the default guards and return the event that it ended with."""
    run = Run(out / f"seed{seed}" / f"guarded_{folder_name(arm)}")
    if not run.exists():
        say(f"seed {seed}: {arm}, guards on")
        start = ("--run", base_run(seed, out).path, "--from", phase_end(), "--as", run.path)
        overrides = settings(ARMS[arm])
        hifitse("resume", *start, "--allow-unsafe-objective", *overrides, may_fail=True)
    return read_events(run)[-1]


def folder_name(arm: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in arm)


def default_guards(run: Run) -> dict[str, tuple[int, int | None] | None]:
    """Return what each guard would have done that stops a run by default."""
    last = run.validation_steps()[-1]
    found = read_history(run, read_result(run, last).scenes_digest, last)
    guards = [guard for guard in HealthConfig().guards if guard.action == "stop"]
    return {guard.name: default_guard(run, guard, found) for guard in guards}


def default_guard(run: Run, guard: Guard, history: Sequence[StepMetrics]) -> tuple[int, int | None] | None:
    health = HealthConfig(guards=(guard,))
    config = load_config(run.config_path).model_copy(update={"health": health})
    first = None
    for end in range(1, len(history) + 1):
        for violation in judge(config, history[:end]):
            first = first if first is not None else violation.values[-1][0]
            if violation.acts:
                return first, violation.values[-1][0]
    return None if first is None else (first, None)


def picked(run: Run, metric: str, *bounds: str) -> int | None:
    shown = hifitse("select-best", "--run", run.path, "--metric", metric, "--json", *bounds, may_fail=True)
    return int(json.loads(shown)["best"]["step"]) if shown else None


def make_table(results: Sequence[Result]) -> str:
    """Return a Markdown table: means over the seeds, and their range for rms_ratio."""
    rows = [
        "| objective | rms_ratio | TA energy | TA suppression | SI-SDR | level_high stops | level_low stops |"
        " val_loss picks | SI-SDR alone picks | gated picks |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    start = [result.metrics[0] for result in results if result.arm == CONTROL]
    rows.append(f"| *shared start, step {phase_end()}* | {_levels(start)} | | | | | |")
    for arm in ARMS:
        ours = of(results, arm)
        ends = [result.metrics[-1] for result in ours]
        picks = " | ".join(
            ", ".join(_pick(result, result.picks[way]) for result in ours)
            for way in ("val_loss", "tp_si_sdr alone", "within the gate")
        )
        stops = " | ".join(
            ", ".join(str(stop_step(result, guard) or "-") for result in ours) for guard in ("level_high", "level_low")
        )
        rows.append(f"| {arm} | {_levels(ends)} | {stops} | {picks} |")
    return "\n".join(rows)


def _levels(ends: Sequence[dict[str, float]]) -> str:
    def mean(name: str) -> float:
        return statistics.mean(end[name] for end in ends)

    ratios = [end["rms_ratio"] for end in ends]
    return (
        f"{mean('rms_ratio'):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) | {mean('ta_energy_db'):.1f} dB | "
        f"{mean('ta_suppression_db'):.1f} dB | {mean('tp_si_sdr'):.2f} dB"
    )


def stop_step(result: Result, guard: str) -> int | None:
    """Return the step at which a default guard would have stopped the arm."""
    found = result.stops[guard]
    return found[1] if found else None


def _pick(result: Result, step: int | None) -> str:
    if step is None:
        return "none"
    return f"{step} ({result.series('rms_ratio')[result.steps.index(step)]:.2f})" if step in result.steps else str(step)


def check_claims(results: Sequence[Result], guarded: dict[tuple[str, int], Row]) -> list[str]:
    """Return a PASS or FAIL line for everything that is said of this experiment."""

    def kept(arm: str) -> list[float]:
        return [result.series("rms_ratio")[-1] / result.series("rms_ratio")[0] for result in of(results, arm)]

    falling = [result.series("rms_ratio")[-1] < result.series("rms_ratio")[-3] for result in of(results, HINGE)]
    pairs = list(zip(of(results, DEFAULT), of(results, CONTROL), strict=True))
    ends = [result.series("rms_ratio")[-1] for result in of(results, DEFAULT)]
    behind = [theirs.series("tp_si_sdr")[-1] - ours.series("tp_si_sdr")[-1] for ours, theirs in pairs]
    gained = [ours.series("ta_suppression_db")[-1] - theirs.series("ta_suppression_db")[-1] for ours, theirs in pairs]
    every = of(results, RAW)[0].steps[1] - of(results, RAW)[0].steps[0]
    silent = [result.stops["level_low"] for result in of(results, RAW)]
    stopped = [found is not None and found[1] is not None and found[1] - found[0] <= every for found in silent]
    outside = [
        ratio
        for result in results
        if (step := result.picks["within the gate"]) is not None
        and step in result.steps
        and not 0.8 <= (ratio := result.series("rms_ratio")[result.steps.index(step)]) <= 1.25
    ]
    return [
        _claim(max(kept(RAW)) <= 0.4, f"raw_db loses at least 60 % of rms_ratio: keeps {max(kept(RAW)):.3f} at most"),
        _claim(max(kept(HINGE)) <= 0.85, f"hinge alone loses at least 15 %: keeps {max(kept(HINGE)):.2f} at most"),
        _claim(all(falling), "hinge alone is still falling at the end, on every seed"),
        _claim(0.9 <= min(ends) and max(ends) <= 1.1, f"the default ends at {min(ends):.2f} to {max(ends):.2f}"),
        _claim(max(behind) <= 0.3, f"its SI-SDR is at most 0.3 dB behind the control's: {max(behind):.2f} dB"),
        _claim(min(gained) >= 4, f"its TA suppression is at least 4 dB above the control's: {min(gained):.1f} dB"),
        _claim(all(stopped), "the default guards stop raw_db at the second validation that finds it falling silent"),
        _claim(
            all(end.kind == "stopped" for (arm, _), end in guarded.items() if arm == RAW),
            f"run with the default guards, raw_db is stopped: {_ends(guarded, RAW)}",
        ),
        _claim(
            all(end.kind == "finished" for (arm, _), end in guarded.items() if arm == DEFAULT),
            f"run with the default guards, the default objective runs through: {_ends(guarded, DEFAULT)}",
        ),
        _claim(not outside, "gated selection never picks a checkpoint outside the gate"),
    ]


def _ends(guarded: dict[tuple[str, int], Row], arm: str) -> str:
    ends = [end for (name, _), end in guarded.items() if name == arm]
    return ", ".join(" ".join([end.kind, "at", str(end.step)]) for end in ends)


def _claim(holds: bool, text: str) -> str:
    return f"{'PASS' if holds else 'FAIL'}  {text}"


def of(results: Sequence[Result], arm: str) -> list[Result]:
    return [result for result in results if result.arm == arm]


def phase_end() -> int:
    end = load_config(CONFIG).curriculum[0].until
    assert end is not None
    return end


def base_run(seed: int, out: Path) -> Run:
    return Run(out / f"seed{seed}" / "base")


def settings(overrides: Sequence[str]) -> list[str]:
    return [part for override in overrides for part in ("--set", override)]


def hifitse(*arguments: Any, may_fail: bool = False) -> str:
    """Run one command of the product and return its stdout, or "" where it failed and may."""
    done = subprocess.run([sys.executable, "-m", "hifitse", *map(str, arguments)], capture_output=True, text=True)
    if done.returncode != 0 and not may_fail:
        raise SystemExit(f"hifitse {' '.join(map(str, arguments))} failed:\n{done.stderr}")
    return done.stdout if done.returncode == 0 else ""


def say(text: str) -> None:
    sys.stderr.write(text + "\n")


if __name__ == "__main__":
    main()
