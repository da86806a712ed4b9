"""How a training starts: as a new run, or from a checkpoint. All is checked before anything is written."""

from dataclasses import dataclass, field
from pathlib import Path

from hifitse.checkpoint.file import Checkpoint
from hifitse.checkpoint.weights import require_no_average
from hifitse.config.changes import Change, ClassifiedChange, classify_change, config_changes, require_allowed
from hifitse.config.files import from_data, write_config
from hifitse.config.schema import Config
from hifitse.errors import UsageError
from hifitse.experiment import Experiment
from hifitse.runs.branches import archive_after
from hifitse.runs.checkpoint_ref import CheckpointRef, owns
from hifitse.runs.events import EventLog
from hifitse.runs.fork import fork
from hifitse.runs.records import is_validated, read_events
from hifitse.runs.run import Run
from hifitse.training.memory import as_recorded
from hifitse.training.step import TrainingSession


def prepare_new(run: Run, config: Config) -> None:
    """Make a new run ready to be trained; what a run that ended before its first checkpoint left is archived.

    Raises:
        UsageError: the run exists.
    """
    run.require_new()
    archive_after(run, 0)
    # Of a fork that was killed before it began.
    run.origin_path.unlink(missing_ok=True)
    write_config(run.config_path, config)


@dataclass
class Resume:
    """A resume that can be done."""

    config: Config
    source: Run
    """The run that the checkpoint is from."""
    target: Run
    """The run that goes on: the same, or a new one."""
    file: Path
    checkpoint: Checkpoint
    seen: list[int]
    """Steps of the checkpoints that the source had when it was read."""
    skipped: list[str]
    """Newer checkpoints that are damaged, each with the reason."""
    changes: list[ClassifiedChange] = field(default_factory=list)
    """Settings, and perhaps the corpus, that differ from those of the checkpoint."""

    @classmethod
    def plan(cls, config: Config, source: Run, ref: CheckpointRef, target: Run) -> "Resume":
        """Read the checkpoint and compare its configuration.

        Raises:
            UsageError: there is no such checkpoint, it is not one of the run, or the new run exists already.
            CheckpointError: it is damaged.
            ConfigError: with this configuration it cannot be continued.
        """
        seen = source.checkpoint_steps()
        checkpoint, skipped = ref.load(source)
        require_no_average(checkpoint, ref.text)
        if target != source:
            target.require_new()
        elif not owns(source, checkpoint):
            raise UsageError(f"--from {ref.text}: not a checkpoint of {source.path}; go on in a new run with --as NAME")
        name = f"the checkpoint of step {checkpoint.header.step}"
        old = from_data(checkpoint.header.config, name)
        config = as_recorded(config, old)
        # Checkpoints do not know the commands of a machine.
        old = old.model_copy(update={"on_event": config.on_event})
        changes = [classify_change(change) for change in config_changes(old, config)]
        require_allowed(changes, name)
        file = ref.file or source.checkpoint_path(checkpoint.header.step)
        return cls(config, source, target, file, checkpoint, seen, skipped, changes)

    @property
    def step(self) -> int:
        return self.checkpoint.header.step

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left to train, validate or judge.

        A run says that it is finished when its last validation has been judged; killed before that, or stopped by that,
        it is judged again.
        """
        total = self.config.train.total_steps
        events = read_events(self.source)
        was_judged = bool(events) and events[-1].kind in ("finished", "restored")
        return self.step > total or (self.step == total and is_validated(self.source, self.step) and was_judged)

    def session(self, experiment: Experiment, *, reset_optimizer: bool) -> TrainingSession:
        """Return the session that goes on; a change of the corpus joins the changes."""
        old, new = self.checkpoint.header.data_fingerprint, experiment.corpus.fingerprint
        # A checkpoint of the original script does not know its corpus.
        if old not in ("", new):
            self.changes.append(classify_change(Change("data fingerprint", old, new)))
        session = TrainingSession.resumed(experiment, self.checkpoint, reset_optimizer=reset_optimizer)
        self.config = session.config
        return session

    def prepare(self, digests: list[str], events: EventLog) -> None:
        """Make the target ready to be trained; what is newer than the checkpoint is archived. The lock is held.

        Args:
            digests: of the checkpoint that each rank has read.
            events: shows what is archived, and logs what is changed.

        Raises:
            UsageError: the run was trained meanwhile, or the ranks have read different checkpoints.
        """
        target = self.target
        if len(set(digests)) > 1:
            raise UsageError(f"{target.path}: the ranks have read different checkpoints; repeat the command")
        if target != self.source:
            target.require_new()
            fork(self.source, self.file, self.checkpoint, target, self.config)
        elif target.checkpoint_steps() != self.seen or not owns(target, self.checkpoint):
            raise UsageError(f"{target.path}: another process has trained this run meanwhile; repeat the command")
        if folder := archive_after(target, self.step):
            events.info(f"everything after step {self.step} was moved to {folder}")
        write_config(target.config_path, self.config)
        if self.changes:
            message = f"changed at step {self.step}: {', '.join(change.key for change in self.changes)}"
            changes = [change.to_json() for change in self.changes]
            events.record("config_changed", self.step, message, changes=changes)
