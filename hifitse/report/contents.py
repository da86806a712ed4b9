"""What a report shows of a run, gathered from its records: nothing is drawn, rendered or changed here."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from hifitse.checkpoint.file import load_header
from hifitse.config.changes import config_changes
from hifitse.config.files import from_data, load_config
from hifitse.config.schema import Config
from hifitse.corpus.corpus import Corpus
from hifitse.errors import HifitseError
from hifitse.evaluation.bounds import Bound
from hifitse.evaluation.diagnosis.causes import diagnose
from hifitse.evaluation.diagnosis.evidence import Finding, gather
from hifitse.evaluation.result import ValidationResult, comparable_results, readable_results
from hifitse.evaluation.selection import bounds
from hifitse.losses import Objective
from hifitse.mixing.curriculum import phase_at
from hifitse.runs.branches import note_path, read_note
from hifitse.runs.records import Best, Origin, Row, read_events, read_metrics, read_origin, read_record
from hifitse.runs.run import Run
from hifitse.runs.summary import Summary, summarize

GUARD_EVENTS = ("sick", "rollback", "stopped", "skipped")
_MOST_ANCESTORS = 20


@dataclass(frozen=True)
class Branch:
    """The validations and the logged steps of checkpoints that follow each other."""

    after_step: int
    """The last step that an archived branch shares with the branch in place; 0 for that one."""
    results: Sequence[ValidationResult]
    """On the same scenes as the newest of the run, ascending by step."""
    rows: Sequence[dict[str, float]]
    """By logged step: ``step``, ``loss``, ``learning_rate``, ``grad_norm`` and other figures, and ``term.NAME``, the
    loss terms times their weights, which add up to the loss."""


@dataclass(frozen=True)
class Contents:
    """A run as a report shows it."""

    run: Run
    config: Config
    summary: Summary
    in_place: Branch
    archived: Sequence[Branch]
    events: Sequence[Row]
    findings: Sequence[Finding]
    chosen: ValidationResult | None
    """The validation of what select-best chose, or else the newest; None: nothing was validated."""
    chosen_path: Path
    """The file of its weights."""
    lineage: Sequence[Origin] = ()
    """Where it was forked from, where that was forked from, ..."""
    environments: Sequence[tuple[int, dict[str, Any]]] = ()
    """With what its checkpoints were trained: the first step that says so, and what it says."""
    notes: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.run.name

    @property
    def is_selected(self) -> bool:
        """Whether the chosen one is what select-best chose."""
        return bool(self.chosen and self.summary.best and self.chosen.step == self.summary.best.step)

    @cached_property
    def bounds(self) -> list[Bound]:
        """What a checkpoint has to keep to be selected."""
        return bounds(self.config)

    @property
    def phases(self) -> list[tuple[int, str]]:
        """First step and name of each phase."""
        starts = [0, *(phase.until for phase in self.config.curriculum if phase.until is not None)]
        return [(start, phase.name) for start, phase in zip(starts, self.config.curriculum, strict=True)]

    @property
    def resumes(self) -> list[int]:
        return sorted({event.step for event in self.events if event.kind == "resumed"})

    @property
    def guard_steps(self) -> list[int]:
        return sorted({event.step for event in self.events if event.kind in GUARD_EVENTS})


def gather_contents(run: Run, config: Config, corpus: Corpus | None) -> Contents:
    """Read everything that a report says about a run.

    Args:
        corpus: for the diagnosis, which also listens to it; None: it is not here.

    Raises:
        RecordError: a record cannot be read.
    """
    results = readable_results(run)
    digest, last = (results[-1].scenes_digest, results[-1].step) if results else ("", 0)
    evidence = gather(run, config, corpus)
    comparable, summary = comparable_results(run, digest, last), summarize(run.path)
    contents = Contents(
        run,
        config,
        summary,
        Branch(0, comparable, _rows(run, config)),
        [_archived(Run(folder), config, digest) for folder in run.archived_folders() if note_path(folder).exists()],
        read_events(run),
        diagnose(evidence) if evidence else [],
        *_chosen(run, summary.best, comparable),
        list(_ancestors(run)),
        _environments(run),
    )
    if not results:
        contents.notes.append(f"nothing was validated yet; hifitse validate --run {run.argument} does it")
    elif len(contents.in_place.results) < len(results):
        contents.notes.append("validations on other scenes than the newest are left out")
    return contents


def _chosen(run: Run, best: Best | None, results: Sequence[ValidationResult]) -> tuple[ValidationResult | None, Path]:
    if best and best.average:
        path = run.average_path(best.average)
        return read_record(path.with_suffix(".json"), ValidationResult, "repeat hifitse select-best --average"), path
    selected = [result for result in results if best and result.step == best.step]
    chosen = next(iter([*selected, *reversed(results)]), None)
    return chosen, run.checkpoint_path(chosen.step if chosen else 0)


def differences(contents: Sequence[Contents]) -> list[tuple[str, list[Any]]]:
    """Return the settings in which runs differ, each with its value in every run."""
    first, *others = (each.config for each in contents)
    found: dict[str, list[Any]] = {}
    for place, other in enumerate(others, start=1):
        for change in config_changes(first, other):
            found.setdefault(change.key, [change.old] * len(contents))[place] = change.new
    return list(found.items())


def _archived(folder: Run, config: Config, scenes_digest: str) -> Branch:
    own = load_config(folder.config_path) if folder.config_path.exists() else config
    results = [result for result in readable_results(folder) if result.scenes_digest == scenes_digest]
    return Branch(read_note(folder.path).after_step, results, _rows(folder, own))


def _rows(run: Run, config: Config) -> list[dict[str, float]]:
    """Return the logged steps of a run; their terms are weighted as the configuration of their time says."""
    trained_with = [*_configs(run), (0, config)]
    rows = []
    for row in read_metrics(run):
        if row.kind == "step":
            while row.step > trained_with[0][0] and len(trained_with) > 1:
                trained_with.pop(0)
            rows.append({"step": row.step} | _figures(row, trained_with[0][1]))
    return rows


def _configs(run: Run) -> Iterator[tuple[int, Config]]:
    """Yield step and configuration of each checkpoint that can be read: it is what the steps up to there had."""
    for step in run.checkpoint_steps():
        path = run.checkpoint_path(step)
        with contextlib.suppress(HifitseError):
            yield step, from_data(load_header(path)[0].config, str(path))


def _figures(row: Row, config: Config) -> dict[str, float]:
    figures = dict(row.model_extra or {})
    terms = figures.pop("terms", {})
    figures |= figures.pop("machine", {})
    weighted = figures.pop("weighted_terms", None)
    if weighted is None:
        # Older rows have the terms as they are.
        weights = Objective(config.loss).weights(phase_at(config, max(row.step - 1, 0)).absent_ratio > 0)
        weighted = {name: weights[name] * value for name, value in terms.items() if name in weights}
    named = {f"term.{name}": value for name, value in weighted.items()}
    return {name: value for name, value in figures.items() if isinstance(value, int | float)} | named


def _ancestors(run: Run) -> Iterator[Origin]:
    for _ in range(_MOST_ANCESTORS):
        with contextlib.suppress(HifitseError):
            if origin := read_origin(run):
                yield origin
                run = Run(Path(origin.source))
                continue
        return


def _environments(run: Run) -> list[tuple[int, dict[str, Any]]]:
    found: list[tuple[int, dict[str, Any]]] = []
    for step in run.checkpoint_steps():
        with contextlib.suppress(HifitseError):
            environment = load_header(run.checkpoint_path(step))[0].environment
            if environment and (not found or found[-1][1] != environment):
                found.append((step, environment))
    return found
