"""hifitse validate: measure a checkpoint on the validation scenes."""

from hifitse.commands._help import command, new_app
from hifitse.commands._options import (
    ConfigOption,
    DeviceOption,
    FromOption,
    JsonOption,
    PerceptualOption,
    RunOption,
    SetOption,
    names_in,
)
from hifitse.commands._setup import build_experiment, load_from, progress_bar, resolve
from hifitse.console import info, print_json, print_line

app = new_app()


@command(app, "hifitse validate --run demo", "hifitse validate --run demo --from best --json")
def validate(
    source: FromOption = "last",
    metrics: PerceptualOption = "",
    config: ConfigOption = None,
    run: RunOption = None,
    overrides: SetOption = None,
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """Measure a checkpoint on the fixed validation scenes.

    The result is kept for select-best. It shows each metric with a 95 % interval, clustered by speaker, its quantiles
    over scenes, and its value on voices of the training; and for which speakers and scenes the model fails.
    """
    settings, target = resolve(config, run, overrides)
    from hifitse.checkpoint.weights import is_average, load_model
    from hifitse.commands._validation_tables import group_tables, metric_summaries
    from hifitse.evaluation.summary import break_down, summarize
    from hifitse.evaluation.validation import keep_result, validate
    from hifitse.mixing.loader import num_validation_scenes
    from hifitse.perceptual.registry import chosen

    checkpoint = load_from(target, source)
    perceptual = chosen(names_in(metrics), settings.audio.sample_rate)
    experiment = build_experiment(settings, device)
    ema = load_model(checkpoint, settings, experiment.device, "ema")
    model = None if is_average(checkpoint) else load_model(checkpoint, settings, experiment.device, "model")
    step = checkpoint.header.step
    num_scenes = num_validation_scenes(settings) + num_validation_scenes(settings, of_train_speakers=True)
    info(f"validating step {step} on {num_scenes} scenes on {experiment.device}")
    with progress_bar() as progress:
        result = validate(ema, model, experiment, step, lambda done: progress(done, num_scenes, "scenes"), perceptual)
    if not experiment.ranks.on_main(lambda: keep_result(result, checkpoint, experiment, target)):
        info("checkpoint, scenes or objective are not those that the run keeps results of; this one is only shown")
    summaries, groups = summarize(result.samples), break_down(result.samples)
    if json:
        print_json(
            {
                "run": target.name,
                "step": step,
                "set": "validation",
                "metrics": result.metrics,
                "raw_metrics": result.model_metrics,
                "train_metrics": result.train_metrics,
                "intervals": {name: summary.to_json() for name, summary in summaries.items()},
                "groups": {kind: [group.to_json() for group in found] for kind, found in groups.items()},
                "samples": [sample.to_json() for sample in result.samples],
            }
        )
    else:
        num_speakers = len(groups["speaker"])
        print_line(
            f"step {step}, validation: {len(result.samples)} scenes of {num_speakers} speakers; this set also selects, "
            "so of a selected checkpoint it is no test"
        )
        metric_summaries(result, summaries)
        group_tables(groups)
        print_line(f"\n{result.about_new_voices}")
