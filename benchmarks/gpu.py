"""Everything that has to hold on a GPU, in one go: a report of pass or fail, speed and memory.

    python benchmarks/gpu.py [--device cuda] [--config hifi_tse] [--steps 6] [--out runs/gpu]

Trains the configured model for a few steps through the command line, repeats them bit for bit with and without
deterministic kernels, with two ranks where there are two GPUs, runs the smoke test, exports and extracts, and measures
steps in a process of its own. Writes report.md and report.json; exits with 1 if anything failed that must hold. On a
CPU it checks the same things with a small configuration (a test does that).
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from hifitse.config.files import load_config
from hifitse.experiment import Experiment
from hifitse.training.step import TrainingSession


@dataclass
class Finding:
    what: str
    verdict: str
    """PASS, FAIL, or note: measured, and not judged."""
    seconds: float
    detail: str = ""


class Report:
    """Runs the parts one after the other; one that fails does not keep the others from running."""

    def __init__(self, device: str, config: str, steps: int, out: Path) -> None:
        self.device, self.config, self.steps, self.out = device, config, steps, out
        self.findings: list[Finding] = []

    def settings(self, *more: str) -> list[str]:
        every = max(self.steps // 2, 1)
        settings = (f"train.checkpoint_every={every}", f"train.validate_every={self.steps}", "train.log_every=1")
        settings = (*settings, "validation.num_scenes=10", "data.num_workers=2", *more)
        return [part for setting in settings for part in ("--set", setting)]

    def hifitse(self, *arguments: object) -> str:
        command = [sys.executable, "-m", "hifitse", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"exit {done.returncode}: {done.stderr.strip().splitlines()[-1:]}")
        return done.stdout

    def part(self, what: str, action: Callable[[], str], *, must_hold: bool = True) -> None:
        started = time.perf_counter()
        try:
            verdict, detail = "PASS" if must_hold else "note", action()
        except RuntimeError as error:
            verdict, detail = "FAIL" if must_hold else "note", str(error)
        self.findings.append(Finding(what, verdict, round(time.perf_counter() - started, 1), detail))
        print(f"{verdict}  {what}  {detail}", flush=True)

    def train(self, name: str, *more: str, ranks: int = 1) -> str:
        run = ("--run", self.out / name, "--config", self.config, "--device", self.device)
        self.hifitse("train", *run, "--ranks", ranks, "--stop-at", self.steps, *self.settings(*more))
        rows = [json.loads(line) for line in (self.out / name / "metrics.jsonl").read_text().splitlines()]
        losses = [row["loss"] for row in rows if row["kind"] == "step"]
        return f"{len(losses)} steps, loss {losses[0]:.3f} to {losses[-1]:.3f}"

    def verify(self, name: str) -> str:
        said = json.loads(
            self.hifitse("resume", "--run", self.out / name, "--device", self.device, "--verify", "--json")
        )
        return f"{said['num_tensors']} tensors and {said['num_rows']} rows equal to the bit"

    def extract(self) -> str:
        run, model, scene = self.out / "plain", self.out / "model.safetensors", self.out / "scene" / "scene_00000"
        self.hifitse("export", "--run", run, "--from", "last", "-o", model, "--force")
        self.hifitse("data", "preview", "--run", run, "-n", 1, "-o", self.out / "scene")
        voice = ("-o", self.out / "voice.wav", "--model", model, "--device", self.device, "--json")
        said = json.loads(self.hifitse("extract", scene / "mixture.wav", scene / "reference.wav", *voice))
        return f"{said['seconds']:.1f} s of audio"

    def measure(self) -> str:
        command = [sys.executable, __file__, "--measure", "--device", self.device, "--config", self.config]
        done = subprocess.run([*command, "--steps", str(self.steps)], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr.strip().splitlines()[-1])
        return done.stdout.strip()

    def write(self) -> bool:
        """Write the report; return whether all that must hold does."""
        name = torch.cuda.get_device_name() if self.device.startswith("cuda") else platform.processor() or "CPU"
        heading = f"{name}, torch {torch.__version__}, Python {platform.python_version()}; {self.config}"
        rows = [f"| {f.what} | {f.verdict} | {f.seconds} s | {f.detail} |" for f in self.findings]
        table = ["| what | verdict | time | detail |", "|---|---|---|---|", *rows]
        (self.out / "report.md").write_text("\n".join([f"# {heading}", "", *table, ""]))
        data = {"machine": heading, "findings": [asdict(finding) for finding in self.findings]}
        (self.out / "report.json").write_text(json.dumps(data, indent=1) + "\n")
        return all(finding.verdict != "FAIL" for finding in self.findings)


def measure_steps(device: str, config: str, steps: int) -> str:
    """Return seconds a step, scenes/s, waiting and peak memory of plain steps, after two that warm up."""
    settings = load_config(config, ["data.num_workers=2"])
    experiment = Experiment.build(settings, torch.device(device))
    session = TrainingSession.fresh(experiment)
    times, waits = [], []
    started, waited = time.perf_counter(), 0.0
    for _ in session.steps(steps + 2):
        now = time.perf_counter()
        times.append(now - started)
        waits.append(session.waited_seconds - waited)
        started, waited = now, session.waited_seconds
    seconds = statistics.median(times[2:])
    text = f"{seconds:.3f} s a step, {settings.train.batch_size / seconds:.1f} scenes/s, "
    text += f"{100 * sum(waits[2:]) / sum(times[2:]):.0f} % waiting"
    if device.startswith("cuda"):
        text += f", {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB"
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--config", default="hifi_tse")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"))
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(measure_steps(options.device, options.config, options.steps))
        return
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        sys.exit("no GPU here; --device cpu --config tests/data/tiny.yaml runs the same on a CPU")
    options.out.mkdir(parents=True, exist_ok=True)
    report = Report(options.device, options.config, options.steps, options.out)
    smoke = ("smoke", "--config", options.config, "--device", options.device, "--steps", "4", "--json")
    report.part("smoke", lambda: f"{len(json.loads(report.hifitse(*smoke, *report.settings()))['checks'])} checks")
    report.part("train", lambda: report.train("plain"))
    report.part("repeat, default kernels", lambda: report.verify("plain"), must_hold=False)
    report.part("train, deterministic", lambda: report.train("deterministic", "train.deterministic=true"))
    report.part("repeat, deterministic", lambda: report.verify("deterministic"))
    report.part("float32 instead of autocast", lambda: report.train("float32", "train.precision=float32"))
    if options.device == "cpu" or torch.cuda.device_count() > 1:
        report.part("two ranks", lambda: report.train("ranks", ranks=2))
    report.part("export and extract", report.extract)
    report.part("speed", report.measure, must_hold=False)
    for remedy in ("train.micro_batch_size=1", "train.micro_batch_size=4", "model.activation_checkpointing=false"):
        if options.device != "cpu":
            report.part(f"train, {remedy}", lambda remedy=remedy: report.train(remedy, remedy), must_hold=False)
    is_sound = report.write()
    print(f"report in {options.out}/report.md")
    sys.exit(not is_sound)


if __name__ == "__main__":
    main()
