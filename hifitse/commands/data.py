"""hifitse data: look at, listen to, and convert what the model hears."""

import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from hifitse.commands._help import command, new_app
from hifitse.commands._options import ConfigOption, JsonOption, RunOption, SetOption
from hifitse.commands._setup import build_experiment, progress_bar, resolve
from hifitse.config.parsing.yaml import write_yaml
from hifitse.config.section import MAX_STEP
from hifitse.console import duration, info, print_json, print_line, print_text, warn
from hifitse.errors import ConfigError, UsageError

app = new_app("Count, listen to and convert what the model hears.")

_NUM_LEFT_OUT_SHOWN = 5


@command(app, "hifitse data scan --config my.yaml", "hifitse data scan --set data.speech=/corpora/vctk --json")
def scan(
    config: ConfigOption = None, run: RunOption = None, overrides: SetOption = None, json: JsonOption = False
) -> None:
    """Count speakers, recordings and hours of each corpus and of each set, and name broken files."""
    settings, _ = resolve(config, run, overrides)
    from hifitse.commands._tables import corpus_table, split_table
    from hifitse.corpus import stats
    from hifitse.corpus.corpus import build_corpus
    from hifitse.corpus.sources import find_sources

    with progress_bar() as progress:
        sources = find_sources(settings, progress)
        rows, totals = stats.corpus_stats(settings, sources), stats.totals(sources)
        try:
            corpus, problem = build_corpus(settings, sources, progress), None
        except ConfigError as error:
            corpus, problem = None, error
    parts = {} if corpus is None else stats.split_stats(corpus)
    notes = sources.notes if corpus is None else corpus.notes
    warnings = () if corpus is None else corpus.warnings
    if json:
        split = {name: asdict(part) for name, part in parts.items()}
        counted = {"corpora": [asdict(row) for row in rows], "total": [asdict(row) for row in totals]}
        print_json({**counted, "split": split, "notes": notes, "warnings": warnings})
    else:
        corpus_table(rows, totals)
        if parts:
            split_table(parts)
        for note in notes:
            info(f"note: {note}")
        for warning in warnings:
            warn(warning)
    if problem is not None:
        raise problem


@command(app, "hifitse data preview --config my.yaml -n 8 -o listen/", "hifitse data preview --step 200000 -o listen/")
def preview(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where to write the scenes.")],
    number: Annotated[int, typer.Option("-n", min=1, max=10_000, metavar="N", help="How many scenes.")] = 8,
    step: Annotated[
        int | None,
        typer.Option(
            "--step",
            min=0,
            max=MAX_STEP,
            metavar="STEP",
            help="Scenes of this training step (default: of validation).",
        ),
    ] = None,
    test: Annotated[bool, typer.Option("--test", help="Scenes of the test set.")] = False,
    config: ConfigOption = None,
    run: RunOption = None,
    overrides: SetOption = None,
    json: JsonOption = False,
) -> None:
    """Render scenes to WAV files, each with its recipe: mixture, reference and target. Say how loud all is in them, and
    how much of the model's band the recordings of each set hold."""
    if test and step is not None:
        raise UsageError("--test, --step: name one of them")
    settings, _ = resolve(config, run, overrides)
    from hifitse.commands._tables import band_table
    from hifitse.mixing.preview import describe, empty_bands, measure_bands, write_scenes

    experiment = build_experiment(settings, "cpu")
    scenes = write_scenes(settings, experiment.corpus, output, number, "test" if test else step)
    bands = measure_bands(settings, experiment.corpus)
    if json:
        measured = {split: {kind: asdict(stats) for kind, stats in kinds.items()} for split, kinds in bands.items()}
        print_json([{**scene, "bands": measured} for scene in scenes])
    else:
        for scene in scenes:
            print_line(describe(scene))
        band_table(bands)
    for line in empty_bands(bands):
        warn(line)


@command(app, "hifitse data pack --config my.yaml -o /fast/disk")
def pack(
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Where to write; resumed if it exists.")
    ],
    threads: Annotated[
        int | None,
        typer.Option("--threads", min=1, max=256, metavar="N", help="Recordings at a time (default: one a core)."),
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
    from hifitse.corpus.packing import plan
    from hifitse.corpus.sources import find_sources

    with progress_bar() as progress:
        sources = find_sources(settings, progress)
    for note in sources.notes:
        info(f"note: {note}")
    targets = plan.plan(settings, sources, output)
    with plan.held(output), progress_bar() as progress:
        jobs = plan.pending(targets)
        info(
            f"{output}: {len(jobs)} of {sum(len(target.jobs) for target in targets)} recordings to pack, about "
            f"{plan.needed_bytes(jobs) / 1e9:.2f} GB; {plan.free_bytes(output, jobs) / 1e9:.0f} GB are free"
        )
        unreadable = plan.run(
            jobs,
            threads or os.cpu_count() or 1,
            lambda done: progress(done, len(jobs), "packing"),
            lambda seconds: info(f"about {duration(seconds)} left"),
        )
        summary = plan.write_manifests(targets, output, unreadable)
    for problem in summary["left_out"][:_NUM_LEFT_OUT_SHOWN]:
        warn(f"left out {problem}")
    if len(unreadable) > _NUM_LEFT_OUT_SHOWN:
        warn(f"left out {len(unreadable) - _NUM_LEFT_OUT_SHOWN} more; {output}/packed.json names them all")
    if json:
        print_json(summary)
        return
    info("packed and verified; to use it, put these lines into the configuration:")
    print_text(write_yaml({key: summary[key] for key in ("data", "validation", "test") if key in summary}))
