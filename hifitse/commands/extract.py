"""hifitse extract: get a voice out of a recording, or out of many."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hifitse.commands._help import command, new_app
from hifitse.commands._options import (
    ConfigOption,
    DeviceOption,
    JsonOption,
    ModelOption,
    OfRunOption,
    RunOption,
    SetOption,
)
from hifitse.commands._setup import load_from, named_model, progress_bar, resolve
from hifitse.console import info, print_json, print_line, warn
from hifitse.errors import HifitseError, UsageError

if TYPE_CHECKING:
    from hifitse.extraction.files import Outcome

app = new_app()


@command(
    app,
    "hifitse extract meeting.wav ada.wav -o ada_only.wav",
    "hifitse extract meetings --reference ada.wav --reference ada2.wav -o ada_only --run demo",
)
def extract(
    mixture: Annotated[
        Path, typer.Argument(metavar="MIXTURE", help="Recording of several voices, a folder of them, or a list (CSV).")
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="OUT", help="A .wav file (32-bit float); of several mixtures a folder."),
    ],
    reference: Annotated[
        Path | None, typer.Argument(metavar="REFERENCE", help="Recording of the wanted speaker alone.")
    ] = None,
    references: Annotated[
        list[Path] | None,
        typer.Option("--reference", metavar="FILE", help="A further recording of the wanted speaker. Repeatable."),
    ] = None,
    target: Annotated[
        Path | None, typer.Option("--target", metavar="CLEAN", help="The true voice, if known: prints the SI-SDR.")
    ] = None,
    sample_rate: Annotated[
        int | None,
        typer.Option("--sample-rate", min=1000, max=768_000, metavar="HZ", help="Of OUT (default: the mixture's)."),
    ] = None,
    channel: Annotated[
        int | None,
        typer.Option("--channel", min=0, metavar="N", help="Extract from this channel alone, from 0 (default: each)."),
    ] = None,
    model: ModelOption = None,
    source: OfRunOption = None,
    config: ConfigOption = None,
    run: RunOption = None,
    overrides: SetOption = None,
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """Extract the reference speaker's voice from a mixture.

    With a run's checkpoint or an exported model; where there is neither, with the one that comes with hifitse.

    A list has the columns mixture, reference (reference2, ...) and output.
    """
    model = named_model(model, source, config, run, overrides)
    found = resolve(config, run, overrides)[1] if model is None else None
    from hifitse.extraction.jobs import check_jobs, find_jobs, is_many

    several = is_many(mixture)
    if several and target:
        raise UsageError(
            f"--target {target}: belongs to one mixture; leave it out, or name a file instead of {mixture}"
        )
    jobs = find_jobs(mixture, [*([reference] if reference else []), *(references or [])], output)
    seconds = check_jobs(jobs, target, channel)
    from hifitse.checkpoint.export import find_model, load_exported, trained_model
    from hifitse.experiment import pick_device
    from hifitse.extraction.files import Settings, extract_all
    from hifitse.inference import Extractor

    if model is not None:
        kind, name, trained = "model", model, load_exported(find_model(model))
    else:
        assert found
        kind, name, trained = "run", found.name, trained_model(load_from(found, source or "best"))
    info(f"extracting with step {trained.step} of {kind} {name}")
    extractor, settings = Extractor(trained, pick_device(device)), Settings(sample_rate, channel)
    if several:
        output.mkdir(exist_ok=True)
    done, outcomes = 0.0, []
    with progress_bar() as progress:

        def advance(more: float) -> None:
            nonlocal done
            done += more
            progress(round(done), round(seconds), "extracting")

        for outcome in extract_all(extractor, jobs, settings, target, advance):
            if outcome.error and not several:
                raise outcome.error
            outcomes.append(outcome)
            if outcome.error or outcome.seems_absent:
                warn(_doubt(outcome))
    if json:
        results = [outcome.to_json() for outcome in outcomes]
        print_json({kind: name, "step": trained.step, **({"files": results} if several else results[0])})
    else:
        _print(outcomes, several)
    if failed := sum(outcome.error is not None for outcome in outcomes):
        raise HifitseError(f"{failed} of {len(jobs)} mixtures failed, see above; the others are in {output}")


def _doubt(outcome: "Outcome") -> str:
    if outcome.error:
        return str(outcome.error)
    below = f"the output is {-outcome.report['presence_db']:.0f} dB below the mixture"
    return f"{outcome.job.mixture}: the reference's voice seems absent, or speaks little: {below}"


def _print(outcomes: Sequence["Outcome"], several: bool) -> None:
    """Print where the voices are, and figures: of several only the one that tells whether the voice is there."""
    for outcome in outcomes:
        if outcome.error:
            continue
        presence = f"  presence {outcome.report['presence_db']:.1f} dB" if several else ""
        print_line(f"wrote {outcome.job.output}{presence}")
        for figure, value in ({} if several else outcome.report).items():
            print_line(f"  {figure:15} {value:7.2f}")
