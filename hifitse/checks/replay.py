"""Proof of the exact resume: repeat steps that a run has done, and compare with what it recorded and saved."""

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from hifitse.checkpoint.file import Checkpoint, load_header, tensor_digest
from hifitse.errors import UsageError
from hifitse.experiment import Experiment
from hifitse.runs.checkpoint_ref import CheckpointRef
from hifitse.runs.records import exact_metrics, read_metrics
from hifitse.runs.run import Run
from hifitse.training.state import to_tensors
from hifitse.training.step import TrainingSession


@dataclass(frozen=True)
class Replay:
    """What was compared, and what differed."""

    first_step: int
    last_step: int
    num_rows: int
    """Metrics rows compared."""
    num_tensors: int
    """Tensors of checkpoints compared."""
    differences: list[str]
    """In the order of the steps; empty: equal to the bit."""
    other_environment: list[str]
    """What the machine has else than the one that trained: ranks 2, now 1."""

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "exact": not self.differences}


def bounds(run: Run, ref: CheckpointRef, num_steps: int | None) -> tuple[int, int]:
    """Return the steps from and to which a replay goes: by default from the last checkpoint but one to the last.

    Raises:
        UsageError: the run has no such checkpoint, or recorded nothing after it.
    """
    run.require()
    steps = run.checkpoint_steps()
    if ref.text == "last":
        first = steps[-2] if len(steps) > 1 else steps[-1]
    else:
        header, digest = load_header(ref.path(run))
        first = header.step
        if first not in steps or load_header(run.checkpoint_path(first))[1] != digest:
            raise UsageError(f"--from {ref.text}: not a checkpoint of {run.path}")
    recorded = {row.step for row in read_metrics(run) if row.kind == "step"} | set(steps)
    last = None if num_steps is None else first + num_steps
    after = sorted(step for step in recorded if first < step and (last is None or step <= last))
    if not after:
        until = "" if last is None else f" up to step {last}"
        raise UsageError(f"{run.path}: nothing is recorded after step {first}{until}; give an earlier --from STEP")
    return first, after[-1] if last else next((step for step in steps if step > first), after[-1])


def replay(
    run: Run,
    checkpoint: Checkpoint,
    experiment: Experiment,
    last_step: int,
    progress: Callable[[int], None],
) -> Replay:
    """Repeat the steps after a checkpoint up to ``last_step``. Changes no run.

    Args:
        progress: called with the number of completed steps.
    """
    first_step = checkpoint.header.step
    headers = {
        step: load_header(run.checkpoint_path(step))[0]
        for step in run.checkpoint_steps()
        if first_step < step <= last_step
    }
    # Where the run went on with a fresh optimizer, the checkpoint before that does not say so, the next one does.
    was_reset = any(header.optimizer_reset_step == first_step > 0 for header in headers.values())
    session = TrainingSession.resumed(experiment, checkpoint, reset_optimizer=was_reset)
    state = session.state
    rows = {row["step"]: _text(row) for row in exact_metrics(run) if row["kind"] == "step"}
    differences: list[str] = []
    num_rows = num_tensors = 0
    for result in session.steps(last_step):
        progress(result.step)
        if recorded := rows.get(result.step):
            num_rows += 1
            # Where it was recorded, whatever train.log_every is today; older rows are of one step, and some always are.
            means = state.window.take() if "num_steps" in recorded else {}
            differences += _differing_fields(result.step, recorded, _text(result.to_row() | means))
        if header := headers.get(result.step):
            digests = {name: tensor_digest(tensor) for name, tensor in to_tensors(state).items()}
            num_tensors += len(digests)
            names = [name for name in header.digests if digests.get(name) != header.digests[name]]
            if names:
                differences.append(
                    f"step {result.step}: {len(names)} of {len(digests)} tensors differ, {names[0]} first"
                )
    recorded_with = next(iter(headers.values()), checkpoint.header).environment
    other = [
        f"{name} {recorded_with[name]}, now {value}"
        for name, value in session.experiment.environment.items()
        if name in recorded_with and recorded_with[name] != value
    ]
    return Replay(first_step, last_step, num_rows, num_tensors, differences, other)


def nondeterministic_kernels(checkpoint: Checkpoint, experiment: Experiment) -> list[str]:
    """Return the operations of a step that torch cannot do in the same way twice on this device."""
    session = TrainingSession.resumed(experiment, checkpoint)
    before = torch.are_deterministic_algorithms_enabled()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.use_deterministic_algorithms(True, warn_only=True)
        try:
            for _ in session.steps(session.state.step + 1):
                pass
        finally:
            torch.use_deterministic_algorithms(before)
    found = (str(warning.message) for warning in caught)
    return sorted({text.split(" does not have")[0] for text in found if "deterministic" in text})


def _text(row: dict[str, Any]) -> dict[str, str]:
    """Return a row field by field as it stands in the log, where NaN equals NaN."""
    return {name: json.dumps(value, sort_keys=True) for name, value in row.items() if name != "kind"}


def _differing_fields(step: int, recorded: dict[str, str], repeated: dict[str, str]) -> list[str]:
    return [
        f"step {step}: {name} was {recorded.get(name)}, is {repeated.get(name)}"
        for name in sorted(recorded.keys() | repeated.keys())
        if recorded.get(name) != repeated.get(name)
    ]
