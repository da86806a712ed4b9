"""Do two checkouts compute the same? Short trainings through the command line, everything they leave as digests.

``make exact AGAINST=<git revision>`` runs it in a work tree of that revision and in this one, on the same machine, and
compares. Only files and JSON output are read, so that the code may be arranged in any way.

    python benchmarks/exactness.py record CHECKOUT OUT.json
    python benchmarks/exactness.py compare A.json B.json
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import safetensors
import soundfile

DEMO = ("--config", "configs/demo.yaml")
SHORT = (
    "data.num_workers=0",
    "curriculum.tp.until=12",
    "train.validate_every=20",
    "train.checkpoint_every=10",
    "train.log_every=1",
    "validation.num_scenes=30",
    "validation.batch_size=10",
)
ROLLBACK = (
    "train.checkpoint_every=1",
    "train.validate_every=2",
    # No output is that loud: the guard acts as soon as a phase with TA scenes is validated twice.
    "health.guards.level_low.below=100",
    "health.guards.level_low.action=rollback",
    "health.max_rollbacks=1",
)
# Times, places, versions and words; everything else has to be the same.
IGNORED_KEYS = {"time", "environment", "config", "path", "folder", "output", "best", "parent", "run", "traceback"}
# What rows and checkpoints had not before their rows were means.
IGNORED_KEYS |= {"machine", "num_steps", "weighted_terms", "window"}
IGNORED_KEYS |= {"message", "detail", "reason", "speech", "noise", "rir"}


def record(checkout: Path, out: Path) -> None:
    """Run all trainings with the code of a checkout, and write what they leave."""
    with tempfile.TemporaryDirectory(prefix="hifitse-exactness-") as scratch:
        results = _results(_Cli(checkout.resolve(), Path(scratch)))
    out.write_text(json.dumps(results, indent=1) + "\n")
    print(f"{len(results)} digests of {checkout} in {out}")


class _Cli:
    """hifitse as a checkout has it, with runs and caches in a scratch folder."""

    def __init__(self, checkout: Path, scratch: Path) -> None:
        self.checkout, self.scratch = checkout, scratch
        self.environment = {**os.environ, "PYTHONPATH": str(checkout), "XDG_CACHE_HOME": str(scratch / "cache")}

    def run(self, *arguments: str, code: int = 0) -> str:
        command = [sys.executable, "-m", "hifitse", *arguments]
        done = subprocess.run(command, cwd=self.checkout, env=self.environment, capture_output=True, text=True)
        if done.returncode != code:
            raise SystemExit(f"{' '.join(command)}: exit {done.returncode}, not {code}\n{done.stderr}")
        return done.stdout

    def name(self, run: str) -> tuple[str, str]:
        return "--run", str(self.scratch / run)


def _results(cli: _Cli) -> dict[str, Any]:
    results: dict[str, Any] = {}

    def keep(run: str) -> None:
        results.update({f"{run}/{name}": value for name, value in _run_digests(cli.scratch / run).items()})

    demo = (*DEMO, *_sets(SHORT))
    cli.run("train", *demo, *cli.name("straight"), "--stop-at", "40")
    keep("straight")
    cli.run(
        "resume", *demo, *cli.name("straight"), "--from", "20", "--as", str(cli.scratch / "resumed"), "--stop-at", "40"
    )
    keep("resumed")
    reset = ("--from", "20", "--reset-optimizer", "--as", str(cli.scratch / "reset"), "--stop-at", "40")
    cli.run("resume", *demo, *cli.name("straight"), *reset)
    keep("reset")
    cli.run("resume", *demo, *cli.name("straight"), "--from", "30", "--stop-at", "34")
    keep("straight")
    tiny = ("--config", "tests/data/tiny.yaml")
    cli.run("train", *tiny, *cli.name("rollback"), *_sets(ROLLBACK), code=3)
    keep("rollback")
    cli.run("train", *demo, *cli.name("ranks"), "--ranks", "2", "--stop-at", "20")
    keep("ranks")
    original = "tests/data/original"
    cli.run(
        "import", f"{original}/tiny_checkpoint_0200000.pt", "--config", f"{original}/tiny.yaml", *cli.name("imported")
    )
    few = ("train.batch_size=2", "train.validate_every=2", "validation.num_scenes=5", "train.log_every=1")
    cli.run("resume", *cli.name("imported"), "--stop-at", "200002", *_sets(few))
    keep("imported")
    for name, arguments in {
        "select-best": ("select-best", *cli.name("straight"), "--json", "--require", "rms_ratio>=0"),
        "smoke": ("smoke", *tiny, "--steps", "8", "--json"),
        "preview": (
            "data",
            "preview",
            *DEMO,
            "--step",
            "1500",
            "-n",
            "20",
            "-o",
            str(cli.scratch / "scenes"),
            "--json",
        ),
        "config": ("config", "show", "--json", "--config", "configs/hifi_tse.yaml"),
    }.items():
        results[name] = _digest(_plain(json.loads(cli.run(*arguments))))
    for file in sorted((cli.scratch / "scenes").rglob("*.wav")):
        # The samples alone: the header of a WAV file of floats has the time of writing in it.
        samples, rate = soundfile.read(file, dtype="float32")
        name = f"preview/{file.relative_to(cli.scratch / 'scenes')}"
        results[name] = hashlib.sha256(samples.tobytes() + str(rate).encode()).hexdigest()
    return results


def _sets(overrides: tuple[str, ...]) -> list[str]:
    return [argument for override in overrides for argument in ("--set", override)]


def _run_digests(run: Path) -> dict[str, str]:
    """Return a digest of each checkpoint, validation result and log of a run, archived branches included."""
    found = {}
    for file in sorted(run.rglob("*")):
        name = str(file.relative_to(run)).replace("exams/", "validation/")
        if file.suffix == ".safetensors":
            with safetensors.safe_open(file, "pt") as opened:
                header = json.loads(opened.metadata()["hifitse"])
            found[name] = _digest(_plain(header))
        elif file.suffix == ".json" and file.name.startswith("step_"):
            found[name] = _digest(_plain(json.loads(file.read_text())))
        elif file.name == "metrics.jsonl":
            found[name] = _digest([_plain(json.loads(line)) for line in file.read_text().splitlines()])
        elif file.name == "events.jsonl":
            rows = [json.loads(line) for line in file.read_text().splitlines()]
            found[name] = _digest([(row["kind"], row["step"]) for row in rows])
    return found


def _plain(value: Any) -> Any:
    """Return data without what may differ between two runs of the same code."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items() if key not in IGNORED_KEYS}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return value


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def compare(before: Path, after: Path) -> None:
    """Say what differs between two records, and exit with 1 if anything does."""
    old, new = json.loads(before.read_text()), json.loads(after.read_text())
    names = sorted(old.keys() | new.keys())
    differing = [name for name in names if old.get(name) != new.get(name)]
    for name in differing:
        print(f"{name}: {'differs' if name in old and name in new else 'only in one of them'}")
    print(f"{len(names) - len(differing)} of {len(names)} digests are equal")
    sys.exit(1 if differing else 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for function, arguments in ((record, ("checkout", "out")), (compare, ("before", "after"))):
        command = commands.add_parser(function.__name__)
        command.set_defaults(function=function)
        for argument in arguments:
            command.add_argument(argument, type=Path)
    options = vars(parser.parse_args())
    options.pop("function")(**options)
