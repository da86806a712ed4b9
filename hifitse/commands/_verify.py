"""hifitse resume --verify: prove that a resume of this run is exact on this machine."""

from hifitse.checkpoint.file import load_checkpoint
from hifitse.checks.replay import bounds, nondeterministic_kernels, replay
from hifitse.commands._setup import build_experiment, progress_bar
from hifitse.config.schema import Config
from hifitse.console import info, print_json, print_line
from hifitse.errors import StoppedError
from hifitse.runs.checkpoint_ref import CheckpointRef
from hifitse.runs.run import Run

_NUM_SHOWN = 5


def verify_resume(
    settings: Config, run: Run, ref: CheckpointRef, num_steps: int | None, device: str, json: bool
) -> None:
    """Repeat steps of a run and say whether they came out the same.

    Raises:
        StoppedError: they did not.
    """
    first, last = bounds(run, ref, num_steps)
    checkpoint = load_checkpoint(run.checkpoint_path(first))
    experiment = build_experiment(settings, device)
    info(f"repeating steps {first + 1} to {last} of {run.path} on {experiment.device}")
    with progress_bar() as progress:
        found = replay(run, checkpoint, experiment, last, lambda step: progress(step - first, last - first, "steps"))
    compared = f"{found.num_rows} metrics rows and {found.num_tensors} tensors of checkpoints"
    if json:
        print_json(found.to_json())
    elif not found.differences:
        print_line(f"PASS  steps {first + 1} to {last} are equal to the bit: {compared}")
    else:
        for difference in found.differences[:_NUM_SHOWN]:
            print_line(difference)
        print_line(f"FAIL  {len(found.differences)} differences in {compared}")
    if not found.differences:
        return
    reason = "; ".join(found.other_environment) or "the configuration, the corpus or the code has changed since"
    if experiment.device.type == "cuda" and not settings.train.deterministic:
        kernels = ", ".join(nondeterministic_kernels(checkpoint, experiment)) or "none that torch knows of"
        reason = f"kernels that are not deterministic here: {kernels}; train with --set train.deterministic=true"
    raise StoppedError(f"the resume is not exact; {reason}")
