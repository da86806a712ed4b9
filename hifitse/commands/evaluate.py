"""hifitse evaluate: measure a model on a test set."""

from enum import StrEnum
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
    PerceptualOption,
    RunOption,
    SetOption,
    names_in,
)
from hifitse.commands._setup import build_experiment, load_from, named_model, progress_bar, resolve
from hifitse.console import info, print_json, print_line, print_text
from hifitse.errors import UsageError

if TYPE_CHECKING:
    from hifitse.evaluation.scoring.sources import ListSource, Source
    from hifitse.evaluation.test_sets.pairs import PairList

app = new_app()

_SCENES = "test"
"""Instead of a file: the test scenes of the configuration."""


class Form(StrEnum):
    """How the summary is printed."""

    table = "table"
    markdown = "markdown"
    latex = "latex"


@command(
    app,
    "hifitse evaluate Libri2Mix/wav8k/min/metadata/mixture_test_mix_clean.csv --run demo --metrics sdri,pesq_nb,stoi",
    "hifitse evaluate pairs.csv --model model.safetensors --format latex",
)
def evaluate(
    test_set: Annotated[
        Path,
        typer.Argument(
            metavar="TEST_SET",
            help="A CSV (mixture,reference,target), LibriMix's metadata, a folder of WeSep's or WSJ0-2mix-extr's, or "
            "test: the test scenes of the configuration.",
        ),
    ],
    enrolment: Annotated[
        Path | None,
        typer.Option("--enrolment", metavar="FILE", help="LibriMix's map of enrolments (default: beside it)."),
    ] = None,
    metrics: PerceptualOption = "",
    speaker_encoder: Annotated[
        Path | None,
        typer.Option(
            "--speaker-encoder", metavar="FILE", help="ONNX model for speaker_similarity (default: resemblyzer's)."
        ),
    ] = None,
    model: ModelOption = None,
    source: OfRunOption = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FOLDER", help="Where results go (default: evaluation/ in the run, or here)."
        ),
    ] = None,
    form: Annotated[Form, typer.Option("--format", help="How the summary is printed.")] = Form.table,
    config: ConfigOption = None,
    run: RunOption = None,
    overrides: SetOption = None,
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """Measure a model on a test set, by the figures that papers report.

    Whole utterances, a row for each pair of mixture and target. One that was interrupted goes on where it was.
    """
    model = named_model(model, source, config, run, overrides)
    where = Path()
    if model is None:
        settings, found = resolve(config, run, overrides)
        where = found.path if found.exists() else where
    from hifitse.checkpoint.export import find_model, load_exported, trained_model
    from hifitse.commands._tables import figures_table
    from hifitse.evaluation.scoring.evaluate import Evaluation
    from hifitse.evaluation.scoring.sources import SceneSource
    from hifitse.evaluation.scoring.summary import for_paper, summarize_pairs, write_summary
    from hifitse.evaluation.test_sets.reading import read_pairs
    from hifitse.experiment import pick_device
    from hifitse.inference import Extractor

    of_scenes = test_set == Path(_SCENES) and not test_set.exists()
    if of_scenes and model is not None:
        raise UsageError(f"{_SCENES}: the test scenes are those of a configuration; name a run with --run")
    pairs = None if of_scenes else read_pairs(test_set, enrolment)
    if model is not None:
        name, trained = model, load_exported(find_model(model))
    else:
        name, trained = found.name, trained_model(load_from(found, source or "best"))
    extractor = Extractor(trained, pick_device(device))
    tested: Source = (
        SceneSource(build_experiment(settings, device)) if pairs is None else _probed(pairs, extractor.sample_rate)
    )
    with progress_bar() as progress:
        evaluation = Evaluation.plan(extractor, tested, names_in(metrics), speaker_encoder)
        folder = output or where / "evaluation" / evaluation.folder_name
        info(f"evaluating step {trained.step} of {name} on {tested.num_pairs} pairs of {tested.name}, into {folder}")
        results = evaluation.run(folder, lambda done, total: progress(done, total, "pairs"))
    figures = summarize_pairs(results)
    summary = {"model": name, "step": trained.step, "test_set": tested.name, **evaluation.facts}
    summary["metrics"] = {figure.name: figure.to_json() for figure in figures}
    write_summary(folder, summary, results)
    if json:
        print_json({**summary, "output": str(folder)})
    elif form is Form.table:
        figures_table(figures)
        print_line(f"{evaluation.described}; intervals of 95 %, pairs clustered by speaker")
    else:
        print_text(for_paper(name, evaluation.described, figures, form.value) + "\n")


def _probed(pairs: "PairList", model_rate: int) -> "ListSource":
    from hifitse.evaluation.scoring.sources import ListSource
    from hifitse.evaluation.test_sets.pairs import probe

    with progress_bar() as progress:
        return ListSource(probe(pairs, lambda done, total: progress(done, total, "files")), model_rate)
