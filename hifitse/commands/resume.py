"""hifitse resume: continue a run from a checkpoint."""

from pathlib import Path
from typing import Annotated

import typer

from hifitse.commands._audit import UnsafeOption, require_sound_objective
from hifitse.commands._options import (
    ConfigOption,
    DeviceOption,
    JsonOption,
    RanksOption,
    RunOption,
    SetOption,
    build_experiment,
    load_checkpoint,
    resolve,
    resolve_file,
    run_path,
)
from hifitse.commands._verify import verify_resume
from hifitse.commands.train import StopAtOption, print_state, run_training, stop_step
from hifitse.console import say
from hifitse.distributed.launch import launch_ranks
from hifitse.errors import UsageError

FromOption = Annotated[
    str, typer.Option("--from", metavar="STEP|last|best|FILE", help="The checkpoint: a step, last, best, or a file.")
]
ResetOption = Annotated[
    bool,
    typer.Option("--reset-optimizer", help="Fresh AdamW moments; the learning rate keeps its place and re-warms."),
]
AsOption = Annotated[
    str | None,
    typer.Option("--as", metavar="NAME", help="Go on in a new run of this name; the old one stays as it is."),
]
VerifyOption = Annotated[
    bool,
    typer.Option("--verify", help="Train nothing: repeat recorded steps and compare bit for bit. Changes no run."),
]
StepsOption = Annotated[
    int | None,
    typer.Option("--steps", min=1, metavar="N", help="Of --verify: repeat N steps (default: to the next checkpoint)."),
]


def resume(
    source: FromOption = "last",
    reset_optimizer: ResetOption = False,
    new_run: AsOption = None,
    config: ConfigOption = None,
    run: RunOption = None,
    overrides: SetOption = None,
    stop_at: StopAtOption = None,
    verify: VerifyOption = False,
    steps: StepsOption = None,
    allow_unsafe_objective: UnsafeOption = False,
    device: DeviceOption = "auto",
    ranks: RanksOption = 1,
    json: JsonOption = False,
) -> None:
    """Continue a run. From an older step, the newer checkpoints are moved to abandoned/, never deleted."""
    if verify and (new_run or reset_optimizer or stop_at is not None):
        raise UsageError("--verify changes no run; leave out --as, --reset-optimizer and --stop-at")
    if steps is not None and not verify:
        raise UsageError(f"--steps {steps}: is of --verify; to end a training early give --stop-at STEP")
    if config is None and run is None and Path(source).is_file():
        settings, origin = resolve_file(Path(source), overrides)
    else:
        settings, origin = resolve(config, run, overrides)
    if launch_ranks(ranks):
        return
    if verify:
        verify_resume(settings, origin, source, steps, device, json)
        return
    from hifitse.commands._changes import compare_config, compare_data, note_changes, show_changes
    from hifitse.runs.branches import set_aside_after
    from hifitse.runs.fork import fork
    from hifitse.runs.run import Run
    from hifitse.training.state import from_checkpoint

    seen = origin.checkpoint_steps()
    checkpoint = load_checkpoint(origin, source)
    target = Run(run_path(new_run)) if new_run else origin
    if new_run:
        target.require_new()
    elif not target.owns(checkpoint):
        raise UsageError(f"--from {source}: not a checkpoint of {target.path}; go on in a new run with --as NAME")
    changes = compare_config(checkpoint, settings)
    step, total = checkpoint.header.step, settings.train.total_steps
    # One that was killed in its last exam has that still to do; one that its guards stopped there is judged again.
    is_done = origin.is_examined(step) and not origin.ended_with("stopped")
    if stop_at is None and (step > total or (step == total and is_done)):
        say(f"{target.path}: finished at step {step}; raise train.total_steps to train further")
        if json:
            print_state(target, step)
        return
    stop = stop_step(settings, step, stop_at)
    experiment = build_experiment(settings, device)
    changes += compare_data(checkpoint, experiment)
    show_changes(changes, step)
    digests = experiment.ranks.gather(checkpoint.digest)
    state = from_checkpoint(checkpoint, settings, experiment.device, reset_optimizer=reset_optimizer)
    require_sound_objective(experiment, state.model, allow_unsafe_objective)

    def prepare() -> None:
        if len(set(digests)) > 1:
            raise UsageError(f"{target.path}: the ranks have read different checkpoints; repeat the command")
        if not new_run and (target.checkpoint_steps() != seen or not target.owns(checkpoint)):
            raise UsageError(f"{target.path}: another process has trained this run meanwhile; repeat the command")
        if new_run:
            target.require_new()
            file = Path(source) if Path(source).is_file() else origin.checkpoint_path(step)
            fork(origin, file, checkpoint, target)
        if folder := set_aside_after(target, step):
            say(f"everything after step {step} was moved to {folder}")
        target.write_config(settings)
        note_changes(target, step, changes)

    run_training(state, experiment, target, stop, json, prepare)
