"""hifitse data pack: convert the corpora into what reads fastest."""

import os
from pathlib import Path
from typing import Annotated

import typer

from hifitse.commands._options import ConfigOption, JsonOption, RunOption, SetOption, progress_bar, resolve
from hifitse.config.parsing.yaml import write_yaml
from hifitse.console import print_json, say, warn

_NAMED = 5


def pack(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Where to write; resumed if it exists.")
    ],
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, metavar="N", help="Recordings at a time (default: one a core).")
    ] = None,
    config: ConfigOption = None,
    run: RunOption = None,
    overrides: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Convert the corpora to WAV files at audio.sample_rate; names, splits and scenes stay what they are.

    Prints the part of a configuration that uses the result.
    """
    settings, _ = resolve(config, run, overrides)
    from hifitse.console import duration
    from hifitse.corpus.packing import plan as packing
    from hifitse.corpus.sources import find_sources

    with progress_bar() as progress:
        sources = find_sources(settings.data, progress)
    for note in sources.notes:
        say(f"note: {note}")
    targets = packing.plan(settings, sources, output)
    with packing.locked(output), progress_bar() as progress:
        jobs = packing.pending(targets)
        say(
            f"{output}: {len(jobs)} of {sum(len(target.jobs) for target in targets)} recordings to pack, about "
            f"{packing.needed_bytes(jobs) / 1e9:.2f} GB; {packing.free_bytes(output, jobs) / 1e9:.0f} GB are free"
        )
        unreadable = packing.run(
            jobs,
            threads or os.cpu_count() or 1,
            lambda done: progress(done, len(jobs), "packing"),
            lambda seconds: say(f"about {duration(seconds)} left"),
        )
        summary = packing.write_manifests(targets, output, unreadable)
    for problem in summary["left_out"][:_NAMED]:
        warn(f"left out {problem}")
    if len(unreadable) > _NAMED:
        warn(f"left out {len(unreadable) - _NAMED} more; {output}/packed.json names them all")
    if json:
        print_json(summary)
        return
    say("packed and verified; to use it, put these lines into the configuration:")
    typer.echo(write_yaml({"data": summary["data"]}), nl=False)
