"""What the shell completes: runs, checkpoints, metrics and settings."""

from pathlib import Path
from typing import Any, get_args


def runs(incomplete: str) -> list[str]:
    from hifitse.runs.run import RUNS, Run, find_runs

    return [name for path in find_runs(RUNS) if (name := Run(path).argument).startswith(incomplete)]


def checkpoints(ctx: Any, incomplete: str) -> list[str]:
    from hifitse.runs.run import Run

    run = Run.named(ctx.params.get("run") or Path(ctx.params.get("config") or "hifi_tse").stem)
    names = ["last", "best", *map(str, run.checkpoint_steps())]
    return [name for name in names if name.startswith(incomplete)]


def metrics(incomplete: str) -> list[str]:
    from hifitse.config.section import MetricName

    return [name for name in get_args(MetricName) if name.startswith(incomplete)]


def perceptual(incomplete: str) -> list[str]:
    from hifitse.perceptual.registry import PERCEPTUAL

    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in PERCEPTUAL if name.startswith(last)]


def settings(incomplete: str) -> list[str]:
    from hifitse.config.parsing.annotations import setting_keys
    from hifitse.config.schema import Config

    return [f"{key}=" for key in setting_keys(Config) if key.startswith(incomplete)]


def bundled(incomplete: str) -> list[str]:
    from hifitse.config.files import bundled_names

    return [name for name in bundled_names() if name.startswith(incomplete)]
