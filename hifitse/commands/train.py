"""hifitse train: start a new run."""

from typing import Annotated

import typer

from hifitse.commands._help import command, new_app
from hifitse.commands._options import (
    ConfigOption,
    DeviceOption,
    JsonOption,
    RanksOption,
    RunOption,
    SetOption,
    StopAtOption,
    UnsafeOption,
)
from hifitse.commands._setup import build_experiment, resolve
from hifitse.console import info, warn
from hifitse.distributed.launch import launch_ranks

app = new_app()


@command(
    app,
    "hifitse train --config configs/demo.yaml",
    "hifitse train --config my.yaml --ranks 4 --init model.safetensors",
)
def train(
    config: ConfigOption = None,
    run: RunOption = None,
    overrides: SetOption = None,
    init: Annotated[
        str | None,
        typer.Option(
            "--init",
            metavar="FILE",
            help="Begin with the weights of an exported model or a checkpoint, or bundled: the model of hifitse.",
        ),
    ] = None,
    stop_at: StopAtOption = None,
    allow_unsafe_objective: UnsafeOption = False,
    device: DeviceOption = "auto",
    ranks: RanksOption = 1,
    json: JsonOption = False,
) -> None:
    """Start a new run: train through all phases, validate, save checkpoints."""
    settings, target = resolve(config, run, overrides)
    target.require_new()
    if launch_ranks(ranks, settings.train.batch_size):
        return
    from hifitse.checks.audit import require_sound_objective
    from hifitse.commands._training import run_training, stop_step
    from hifitse.runs.events import EventLog
    from hifitse.training.initial import Initial
    from hifitse.training.start import prepare_new
    from hifitse.training.step import TrainingSession

    stop = stop_step(settings, 0, stop_at)
    initial = Initial.read(init, settings) if init is not None else None
    experiment = build_experiment(settings, device)
    session = TrainingSession.fresh(experiment)
    if initial:
        initial.apply(session.state)
        for line in initial.lines():
            info(line)
        for change in initial.changes:
            warn(f"{change.key}: {change.old} where the weights were trained, {change.new} here")
    require_sound_objective(session, allow_unsafe_objective)

    def prepare(events: EventLog) -> None:
        prepare_new(target, session.config)
        if initial:
            initial.record(target, events)

    run_training(session, target, stop, json, prepare)
