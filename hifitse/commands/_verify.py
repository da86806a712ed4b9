"""hifitse resume --verify: prove that a resume of this run is exact on this machine."""

from typing import TYPE_CHECKING

from rich.progress import Progress

from hifitse.commands._options import build_experiment
from hifitse.config.schema import Config
from hifitse.console import err, out, print_json, say
from hifitse.errors import StoppedError

if TYPE_CHECKING:
    from hifitse.runs.run import Run

_SHOWN = 5


def verify_resume(settings: Config, run: "Run", source: str, num_steps: int | None, device: str, json: bool) -> None:
    """Repeat steps of a run and say whether they came out the same.

    Raises:
        StoppedError: they did not.
    """
    from hifitse.checkpoint.file import load
    from hifitse.checks.replay import bounds, nondeterministic_kernels, replay

    first, last = bounds(run, source, num_steps)
    checkpoint = load(run.checkpoint_path(first))
    experiment = build_experiment(settings, device)
    say(f"repeating steps {first + 1} to {last} of {run.path} on {experiment.device}")
    with Progress(console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task("steps", total=last - first)
        found = replay(run, checkpoint, experiment, last, lambda step: bar.update(task, completed=step - first))
    if json:
        print_json(found.to_json())
    compared = f"{found.num_rows} metrics rows and {found.num_tensors} tensors of checkpoints"
    if not found.differences:
        if not json:
            out.print(f"PASS  steps {first + 1} to {last} are equal to the bit: {compared}", soft_wrap=True)
        return
    if not json:
        for difference in found.differences[:_SHOWN]:
            out.print(difference, soft_wrap=True)
        out.print(f"FAIL  {len(found.differences)} differences in {compared}", soft_wrap=True)
    reason = "; ".join(found.other_environment) or "the configuration, the corpus or the code has changed since"
    if experiment.device.type == "cuda" and not settings.train.deterministic:
        kernels = ", ".join(nondeterministic_kernels(checkpoint, experiment)) or "none that torch knows of"
        reason = f"kernels that are not deterministic here: {kernels}; train with --set train.deterministic=true"
    raise StoppedError(f"the resume is not exact; {reason}")
