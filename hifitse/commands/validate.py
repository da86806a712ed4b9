"""hifitse validate: let a checkpoint sit the exam."""

from rich.progress import Progress

from hifitse.commands._options import (
    ConfigOption,
    DeviceOption,
    JsonOption,
    RunOption,
    SetOption,
    build_experiment,
    load_checkpoint,
    resolve,
)
from hifitse.commands.resume import FromOption
from hifitse.console import err, print_json, say


def validate(
    source: FromOption = "last",
    config: ConfigOption = None,
    run: RunOption = None,
    overrides: SetOption = None,
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """Measure a checkpoint on the fixed validation scenes, and keep the result for select-best."""
    settings, target = resolve(config, run, overrides)
    from hifitse.commands._tables import metrics_table
    from hifitse.evaluation.validation import keep, validate
    from hifitse.training.state import ema_model, raw_model

    checkpoint = load_checkpoint(target, source)
    experiment = build_experiment(settings, device)
    averaged, raw = (load(checkpoint, settings, experiment.device) for load in (ema_model, raw_model))
    say(f"validating step {checkpoint.header.step} on {settings.validation.num_scenes} scenes on {experiment.device}")
    with Progress(console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task("scenes", total=settings.validation.num_scenes)
        exam = validate(
            averaged, raw, experiment, checkpoint.header.step, lambda num_scenes: bar.update(task, completed=num_scenes)
        )
    if not experiment.ranks.on_main(lambda: keep(exam, checkpoint, experiment, target)):
        say("this exam differs from the one that the run keeps for this step; its result is only shown")
    if json:
        print_json({"run": target.name, "step": exam.step, "metrics": exam.metrics, "raw_metrics": exam.raw_metrics})
    else:
        metrics_table([(exam.step, exam.metrics, ""), (exam.step, exam.raw_metrics, "raw weights")])
