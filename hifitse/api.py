"""hifitse from Python: load a model, train, look at a run. What ``import hifitse`` offers."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from hifitse.checkpoint.export import BUNDLED_MODEL, find_model, load_trained, trained_model
from hifitse.checks.audit import require_sound_objective
from hifitse.config.schema import Config
from hifitse.errors import UsageError
from hifitse.evaluation.result import read_result
from hifitse.experiment import Experiment, pick_device
from hifitse.inference import Extractor
from hifitse.losses import Objective
from hifitse.report.live.display import TrainingDisplay
from hifitse.runs.checkpoint_ref import CheckpointRef
from hifitse.runs.events import EventLog
from hifitse.runs.records import read_best, read_events, read_metrics
from hifitse.runs.run import Run
from hifitse.training.initial import Initial
from hifitse.training.loop import train_run
from hifitse.training.start import prepare_new
from hifitse.training.step import TrainingSession

Row = dict[str, Any]


def load(source: str | Path = BUNDLED_MODEL, *, checkpoint: str | int | None = None, device: str = "auto") -> Extractor:
    """Load a trained model, with its EMA weights.

    Args:
        source: a run, by name or path, or a file: an exported model or a checkpoint; without it, the model that
            comes with hifitse.
        checkpoint: of a run: a step, ``"best"`` or ``"last"``; None: the best if one was chosen, else the last.
        device: auto, cpu, cuda or cuda:N.

    Raises:
        UsageError: there is no such run, file or checkpoint.
        CheckpointError: it is damaged.
    """
    path = find_model(source)
    if path.is_file():
        trained = load_trained(path)
    elif path.suffix == ".safetensors":
        raise UsageError(f"{path}: no such file in {Path.cwd()}")
    else:
        run = Run.named(str(source))
        run.require()
        ref = CheckpointRef(str(checkpoint or ("best" if read_best(run) else "last")))
        trained = trained_model(ref.load(run)[0])
    return Extractor(trained, pick_device(device))


def train(
    config: Config,
    run: str | Path,
    *,
    init: str | Path | None = None,
    stop_at: int | None = None,
    device: str = "auto",
    objective: Objective | None = None,
    allow_unsafe_objective: bool = False,
) -> "RunView":
    """Train a new run through all phases, as ``hifitse train`` does, and return it. Progress goes to stderr.

    Args:
        config: as `load_config` returns it.
        run: a name under runs/, or a path.
        init: an exported model or a checkpoint whose weights it begins with, or ``"bundled"``.
        stop_at: end after so many completed steps; None: at train.total_steps.
        device: auto, cpu, cuda or cuda:N.
        objective: another one than ``Objective(config.loss)``, see examples/added_loss_term.py. Runs do not record it.
        allow_unsafe_objective: train even if the audit of the objective fails.

    Raises:
        UsageError: the run exists.
        StoppedError: the audit failed, or a guard stopped the run; its state is saved.
        HifitseError: it cannot go on; the state is saved.
    """
    target = Run.named(str(run))
    target.require_new()
    initial = Initial.read(init, config) if init is not None else None
    experiment = Experiment.build(config, pick_device(device))
    session = TrainingSession.fresh(replace(experiment, objective=objective or experiment.objective))
    if initial:
        initial.apply(session.state)
    require_sound_objective(session, allow_unsafe_objective)
    stop = config.train.total_steps if stop_at is None else stop_at

    def prepare(events: EventLog) -> None:
        prepare_new(target, session.config)
        if initial:
            initial.record(target, events)

    train_run(session, target, TrainingDisplay(session, target, stop), stop, prepare)
    return RunView(target)


def open_run(run: str | Path) -> "RunView":
    """Look at a run, by name or path; nothing of it is changed.

    Raises:
        UsageError: there is no such run.
    """
    found = Run.named(str(run))
    if not found.path.is_dir():
        found.require()
    return RunView(found)


class RunView:
    """What a run has recorded, as flat rows: ``pandas.DataFrame(run.metrics)``."""

    def __init__(self, run: Run) -> None:
        self._run = run

    @property
    def path(self) -> Path:
        return self._run.path

    @property
    def checkpoints(self) -> list[int]:
        """Steps that have a checkpoint, ascending."""
        return self._run.checkpoint_steps()

    @property
    def best(self) -> int | None:
        """The step that select-best chose, or None."""
        best = read_best(self._run)
        return best.step if best else None

    @property
    def metrics(self) -> list[Row]:
        """A row for each logged step: step, phase, learning_rate, loss, ``terms.NAME`` for each loss term, ..."""
        return [_flat(row.model_dump()) for row in read_metrics(self._run) if not row.is_validation]

    @property
    def validations(self) -> list[Row]:
        """A row for each validated step: the metrics of the EMA weights, and ``model.NAME`` of the model weights."""
        results = [read_result(self._run, step) for step in self._run.validation_steps()]
        return [_flat({"step": r.step, **r.metrics, "model": r.model_metrics, "terms": r.terms}) for r in results]

    @property
    def events(self) -> list[Row]:
        """A row for each thing that happened, oldest first."""
        return [row.model_dump() for row in read_events(self._run)]

    def __repr__(self) -> str:
        return f"RunView({str(self.path)!r})"


def _flat(data: Row, prefix: str = "") -> Row:
    flat: Row = {}
    for name, value in data.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat
