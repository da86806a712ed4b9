"""hifitse train: start a new run."""

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
from hifitse.distributed.launch import launch_ranks

app = new_app()


@command(
    app,
    "hifitse train --config configs/demo.yaml",
    "hifitse train --config my.yaml --ranks 4 --set loss.ta_weight=0.2",
)
def train(
    config: ConfigOption = None,
    run: RunOption = None,
    overrides: SetOption = None,
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
    from hifitse.training.start import prepare_new
    from hifitse.training.step import TrainingSession

    stop = stop_step(settings, 0, stop_at)
    experiment = build_experiment(settings, device)
    session = TrainingSession.fresh(experiment)
    require_sound_objective(session, allow_unsafe_objective)
    run_training(session, target, stop, json, lambda: prepare_new(target, settings))
