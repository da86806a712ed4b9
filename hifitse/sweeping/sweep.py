"""The folder of a sweep: runs/NAME, on a disk that all its processes share.

runs/loss/
  sweep.json      what is tried, and by which metric it is judged
  base.yaml       the configuration that all trials share
  journal.log     optuna's record of all trials
  claims/trial_003   held by the process that works on a trial, see `hifitse.sweeping.claims`
  trial_003/      an ordinary run
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from hifitse.config.changes import config_changes
from hifitse.config.files import load_config, write_config
from hifitse.config.schema import Config
from hifitse.errors import UsageError
from hifitse.metrics import Metric, metric
from hifitse.runs.records import Record, read_record, write_record
from hifitse.runs.run import Run
from hifitse.sweeping import RECORD, is_sweep
from hifitse.sweeping.space import Space

_STUDY = "sweep"


class SweepRecord(Record):
    """sweep.json: what all processes of a sweep must agree about."""

    metric: str
    space: dict[str, Any]
    """As `Space.record` has it."""


@dataclass(frozen=True)
class Sweep:
    """Paths of a sweep. Creating one touches nothing."""

    path: Path

    @property
    def argument(self) -> str:
        """What ``--run`` takes for it."""
        return Run(self.path).argument

    @property
    def record_path(self) -> Path:
        return self.path / RECORD

    @property
    def base_path(self) -> Path:
        return self.path / "base.yaml"

    @property
    def journal_path(self) -> Path:
        return self.path / "journal.log"

    @property
    def claims_path(self) -> Path:
        return self.path / "claims"

    def run(self, number: int) -> Run:
        """Return the run of a trial."""
        return Run(self.path / f"trial_{number:03d}")

    def exists(self) -> bool:
        return is_sweep(self.path)

    def read(self) -> SweepRecord:
        """Return what the sweep is about.

        Raises:
            RecordError: its record cannot be read.
        """
        return read_record(self.record_path, SweepRecord, "give the next sweep another name with --run")

    def metric(self) -> Metric:
        return metric(self.read().metric)

    def join(self, space: Space, metric: Metric) -> Config:
        """Begin the sweep, or go on with it, and return the configuration that all trials share.

        Raises:
            UsageError: the space does not fit its configuration, or the name is that of something else.
        """
        config, record = space.base(), SweepRecord(metric=metric.name, space=space.record)
        if not self.exists() and (Run(self.path).exists() or Run(self.path).config_path.exists()):
            raise UsageError(f"{self.path}: this is a run; give the sweep another name with --run")
        self.claims_path.mkdir(parents=True, exist_ok=True)
        with self.alone():
            if not self.exists():
                write_config(self.base_path, config)
                # Of a process that was killed here: the record comes last.
                self.journal_path.unlink(missing_ok=True)
                optuna.create_study(storage=self._storage(), study_name=_STUDY, direction=_direction(metric))
                write_record(self.record_path, record)
        known, base = self.read(), load_config(self.base_path)
        # A fork takes the configuration of its run along, which may go on meanwhile.
        changed = [] if space.source else config_changes(base, config)
        if known != record or changed:
            what = _difference(known, record) or f"{space.config} has changed since it began: {changed[0].key}"
            raise UsageError(f"{self.path}: another sweep of this name ({what}); give this one another with --run")
        return base

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Hold off the other processes, on all machines, for a moment: who is killed inside delays them by 30 s."""
        lock = JournalFileOpenLock(str(self.claims_path))
        lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def study(self, sampler: optuna.samplers.BaseSampler | None = None) -> optuna.Study:
        """Return the trials as optuna has them."""
        return optuna.load_study(
            storage=self._storage(), study_name=_STUDY, sampler=sampler, pruner=optuna.pruners.MedianPruner()
        )

    def _storage(self) -> JournalStorage:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        path = str(self.journal_path)
        return JournalStorage(JournalFileBackend(path, JournalFileOpenLock(path)))


def judging_metric(name: str, space: Space) -> Metric:
    """Return the metric that is to judge the trials of a space.

    Raises:
        UsageError: it is unknown, or cannot.
    """
    found = metric(name)
    if found.is_perceptual:
        raise UsageError(f"--metric {name}: not measured while a run trains; take another one")
    if name == "val_loss" and any(key.split(".")[0] == "loss" for key in space.settings):
        raise UsageError("--metric val_loss: the space changes what it means (loss.*); take another one")
    return found


def _direction(metric: Metric) -> Literal["maximize", "minimize"]:
    return "maximize" if metric.better == "higher" else "minimize"


def objective(metric: Metric, value: float) -> float:
    """Return what optuna gets for a value of the metric."""
    return metric.cost(value) if metric.better == "near 1" else value


def _difference(known: SweepRecord, given: SweepRecord) -> str:
    if known.metric != given.metric:
        return f"its metric is {known.metric}"
    keys = [key for key in known.space if known.space[key] != given.space.get(key)]
    return f"'{keys[0]}' differs" if keys else ""
