"""hifitse validate: measure a checkpoint on the validation scenes."""

from hifitse.commands._help import command, new_app
from hifitse.commands._options import ConfigOption, DeviceOption, FromOption, JsonOption, RunOption, SetOption
from hifitse.commands._setup import build_experiment, load_from, progress_bar, resolve
from hifitse.console import info, print_json

app = new_app()


@command(app, "hifitse validate --run demo", "hifitse validate --run demo --from best --json")
def validate(
    source: FromOption = "last",
    config: ConfigOption = None,
    run: RunOption = None,
    overrides: SetOption = None,
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """Measure a checkpoint on the fixed validation scenes.

    The result is kept for select-best.
    """
    settings, target = resolve(config, run, overrides)
    from hifitse.checkpoint.weights import load_model
    from hifitse.commands._tables import metrics_table
    from hifitse.evaluation.validation import keep_result, validate

    checkpoint = load_from(target, source)
    experiment = build_experiment(settings, device)
    ema, model = (load_model(checkpoint, settings, experiment.device, part) for part in ("ema", "model"))
    step, num_scenes = checkpoint.header.step, settings.validation.num_scenes
    info(f"validating step {step} on {num_scenes} scenes on {experiment.device}")
    with progress_bar() as progress:
        result = validate(ema, model, experiment, step, lambda done: progress(done, num_scenes, "scenes"))
    if not experiment.ranks.on_main(lambda: keep_result(result, checkpoint, experiment, target)):
        info("the scenes or the objective differ from those that the run keeps results of; this one is only shown")
    if json:
        print_json({"run": target.name, "step": step, "metrics": result.metrics, "raw_metrics": result.model_metrics})
    else:
        metrics_table("weights", [("EMA", result.metrics, ""), ("model", result.model_metrics, "")])
