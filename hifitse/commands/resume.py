"""hifitse resume: continue a run from a checkpoint."""

from typing import Annotated

import typer

from hifitse.commands._help import command, new_app
from hifitse.commands._options import (
    ConfigOption,
    DeviceOption,
    FromOption,
    JsonOption,
    RanksOption,
    ResetOption,
    RunOption,
    SetOption,
    StopAtOption,
    UnsafeOption,
)
from hifitse.commands._setup import build_experiment, resolve, resolve_file
from hifitse.config.section import MAX_STEP
from hifitse.console import info, warn
from hifitse.distributed.launch import launch_ranks
from hifitse.errors import UsageError
from hifitse.runs.checkpoint_ref import CheckpointRef
from hifitse.runs.run import Run

app = new_app()

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
    typer.Option(
        "--steps",
        min=1,
        max=MAX_STEP,
        metavar="N",
        help="With --verify, repeat N steps (default: to the next checkpoint).",
    ),
]


@command(
    app,
    "hifitse resume --run demo",
    "hifitse resume --run demo --from 1200 --as trial --set loss.ta_weight=0.2",
)
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
    """Continue a run from its newest checkpoint or from an older one.

    From an older one, the newer checkpoints are moved to abandoned/, never deleted.
    """
    if verify and (new_run or reset_optimizer or stop_at is not None):
        raise UsageError("--verify changes no run; leave out --as, --reset-optimizer and --stop-at")
    if steps is not None and not verify:
        raise UsageError(f"--steps {steps}: belongs to --verify; to end a training early give --stop-at STEP")
    ref = CheckpointRef(source)
    if config is None and run is None and ref.file and ref.file.is_file():
        settings, origin = resolve_file(ref.file, overrides)
    else:
        settings, origin = resolve(config, run, overrides)
    if ref.file is None:
        origin.require()
    if launch_ranks(ranks, settings.train.batch_size):
        return
    if verify:
        from hifitse.commands._verify import verify_resume

        return verify_resume(settings, origin, ref, steps, device, json)
    from hifitse.checks.audit import require_sound_objective
    from hifitse.commands._changes import show_changes
    from hifitse.commands._training import print_state, run_training, stop_step
    from hifitse.training.start import Resume

    plan = Resume.plan(settings, origin, ref, Run.named(new_run) if new_run else origin)
    for reason in plan.skipped:
        warn(f"skipped {reason}")
    if stop_at is None and plan.is_finished:
        info(f"{plan.target.path}: finished at step {plan.step}; raise train.total_steps to train further")
        if json:
            print_state(plan.target, plan.step)
        return
    stop = stop_step(settings, plan.step, stop_at)
    experiment = build_experiment(plan.config, device)
    session = plan.session(experiment, reset_optimizer=reset_optimizer)
    show_changes(plan.changes, plan.step)
    digests = experiment.ranks.all_gather(plan.checkpoint.digest)
    require_sound_objective(session, allow_unsafe_objective)
    run_training(session, plan.target, stop, json, lambda events: plan.prepare(digests, events))
