"""What the exams of a run have said so far, and the newest checkpoint that they call healthy."""

from hifitse.checkpoint import file as checkpoints
from hifitse.config.schema import Config
from hifitse.errors import CheckpointError
from hifitse.evaluation.guards import Reading, is_healthy
from hifitse.runs.run import Run


def readings(run: Run, exam_digest: str, last_step: int) -> list[Reading]:
    """Return what the exams of a run say up to a step, ascending; only those with the scenes of that digest."""
    found = []
    for step in run.exam_steps():
        try:
            exam = run.read_exam(step)
        except CheckpointError:
            continue
        if step <= last_step and exam["exam_digest"] == exam_digest:
            found.append(Reading(step, exam["metrics"], exam["raw_metrics"]))
    return found


def newest_healthy(run: Run, config: Config, exams: list[Reading]) -> checkpoints.Checkpoint | None:
    """Return the newest valid checkpoint whose exam no guard objects to, or None."""
    for end in range(len(exams), 0, -1):
        if is_healthy(config, exams[:end]):
            try:
                return checkpoints.load(run.checkpoint_path(exams[end - 1].step))
            except CheckpointError:
                continue
    return None
