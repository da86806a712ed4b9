"""What follows when a guard acts: the run stops with an explanation, or is rolled back to a healthy checkpoint."""

from pathlib import Path

from hifitse.checkpoint.file import Checkpoint, save_checkpoint
from hifitse.config.policies import HealthConfig, NonFiniteGuard, SpikeGuard
from hifitse.config.schema import Config
from hifitse.errors import StoppedError
from hifitse.evaluation.diagnosis.causes import diagnose, in_short
from hifitse.evaluation.diagnosis.evidence import Finding, gather
from hifitse.evaluation.guards import Alarm, StepMetrics, judge, newest_healthy, read_history
from hifitse.evaluation.validation import scenes_digest
from hifitse.experiment import Experiment
from hifitse.runs import branches
from hifitse.runs.events import EventLog
from hifitse.runs.run import Run
from hifitse.training.gradient_guard import Skip
from hifitse.training.recorder import Recorder
from hifitse.training.state import TrainState, from_checkpoint, header, to_tensors
from hifitse.training.step import StepResult


def judge_validation(step: int, experiment: Experiment, run: Run, recorder: Recorder) -> Alarm | None:
    """Report what the guards find in the validation of a step, and return the alarm if one of them acts."""
    history = {entry.step: entry for entry in read_history(run, scenes_digest(experiment), step)}
    # What a full disk does not take is judged all the same.
    history |= {r.step: StepMetrics(r.step, r.metrics, r.model_metrics) for r in recorder.unwritten}
    violations = judge(experiment.config, [history[s] for s in sorted(history)]) if step in history else []
    for violation in violations:
        guard = violation.guard
        message = f"{violation.message} (guard {guard.name}, {len(violation.values)} of {guard.patience} validations)"
        recorder.event("sick", step, message, guard=guard.name, action=violation.action)
    if violations and violations[0].action != "warn":
        return Alarm(violations[0].guard.name, violations[0].action, violations[0].message)
    return None


def judge_step(result: StepResult, state: TrainState, config: Config, recorder: Recorder) -> Alarm | None:
    """Report why a step was not taken, and return the alarm if a guard acts."""
    if result.skipped is None:
        return None
    health = config.health
    if result.skipped == "non_finite":
        what = "loss or gradient was not finite"
    else:
        usual = f"{health.spike.factor:g} times its median {state.gradient_guard.median:.4g}"
        what = f"the gradient norm {result.grad_norm:.4g} is over {usual}"
    guard, in_a_row = _step_guards(state, health)[result.skipped]
    message = f"step {result.step} was not taken: {what} ({in_a_row} in a row)"
    recorder.event("skipped", result.step, message, guard=result.skipped)
    acts = guard.action != "warn" and _is_out_of_patience(guard, in_a_row)
    return Alarm(result.skipped, guard.action, message) if acts else None


def unfinished_rollback(state: TrainState, config: Config) -> Alarm | None:
    """Return the alarm of a rollback that a step guard began at this very state, and a kill cut off."""
    for name, (guard, in_a_row) in _step_guards(state, config.health).items():
        if guard.action == "rollback" and _is_out_of_patience(guard, in_a_row):
            return Alarm(name, guard.action, f"{in_a_row} steps in a row up to step {state.step} were not taken")
    return None


def _step_guards(state: TrainState, health: HealthConfig) -> dict[Skip, tuple[NonFiniteGuard | SpikeGuard, int]]:
    """Return each guard on steps with the number of unhealthy steps in a row."""
    found = state.gradient_guard
    return {"non_finite": (health.non_finite, found.num_non_finite), "spike": (health.spike, found.num_spikes)}


def _is_out_of_patience(guard: NonFiniteGuard | SpikeGuard, in_a_row: int) -> bool:
    # Every so many, not from so many on: a run that is resumed after a stop gets its patience again.
    return in_a_row > 0 and in_a_row % guard.patience == 0


def recover(alarm: Alarm, state: TrainState, experiment: Experiment, run: Run, events: EventLog) -> Path:
    """Return the checkpoint file to go on from after a guard acted.

    Raises:
        StoppedError: the guard stops the run, or going back is not possible any more; says how to go on.
    """
    config = experiment.config
    evidence = gather(run, config, experiment.corpus)
    findings = diagnose(evidence) if evidence else []
    healthy = newest_healthy(run, config, read_history(run, scenes_digest(experiment), state.step - 1))
    reason = alarm.message
    if alarm.action == "rollback":
        if healthy is None:
            reason += "; no healthy checkpoint to go back to"
        elif state.num_rollbacks >= config.health.max_rollbacks:
            reason += f"; health.max_rollbacks {config.health.max_rollbacks} reached"
        else:
            return _roll_back(alarm, state, healthy, experiment, run, events, findings)
    events.record("stopped", state.step, reason, guard=alarm.guard, causes=[finding.cause for finding in findings])
    raise StoppedError(_how_to_go_on(alarm.guard, reason, state, healthy, run, findings))


def _roll_back(
    alarm: Alarm,
    state: TrainState,
    healthy: Checkpoint,
    experiment: Experiment,
    run: Run,
    events: EventLog,
    findings: list[Finding],
) -> Path:
    config, step = experiment.config, healthy.header.step
    restored = from_checkpoint(healthy, config, experiment.device, reset_optimizer=True)
    restored.num_rollbacks = state.num_rollbacks + 1
    restored.learning_rate_factor = state.learning_rate_factor * config.health.rollback_learning_rate_factor
    # In this order a kill at any point loses nothing: until the unhealthy checkpoints are moved, a resume finds them,
    # judges them again and comes here again; after that, the checkpoint to go on from already holds the cut.
    folder = branches.begun_folder(run, step) or branches.new_folder(run)
    if not Run(folder).checkpoint_path(step).exists():
        branches.archive_copy(run, step, folder)
    path = run.checkpoint_path(step)
    save_checkpoint(path, header(restored, experiment), to_tensors(restored))
    branches.archive_after(run, step, folder)
    events.report(
        "rollback",
        state.step,
        f"back to step {step} because of guard {alarm.guard} (rollback {restored.num_rollbacks} of "
        f"{config.health.max_rollbacks}): fresh optimizer, learning rate times {restored.learning_rate_factor:g}; "
        f"what came after it is in {folder}. {in_short(findings, run.argument)}".rstrip(),
        guard=alarm.guard,
        causes=[finding.cause for finding in findings],
        to_step=step,
    )
    return path


def _how_to_go_on(
    guard: str, reason: str, state: TrainState, healthy: Checkpoint | None, run: Run, findings: list[Finding]
) -> str:
    text = f"stopped by guard {guard}: {reason}. The state of step {state.step} is saved. "
    text += in_short(findings, run.argument)
    resume = f"hifitse resume --run {run.argument}"
    if healthy is not None:
        text += (
            f"Fix the cause, then go back to the newest healthy checkpoint: "
            f"{resume} --from {healthy.header.step} --reset-optimizer. "
        )
    else:
        text += "No checkpoint of this run has passed its guards so far: fix the cause and start again. "
    is_step_guard = guard in ("non_finite", "spike")
    key = f"health.{guard}.patience=N" if is_step_guard else f"health.guards.{guard}.action=warn"
    return f"{text}Or go on as it is: {resume} --set {key}"
