"""What rules look at: the configuration, the validations, the steps and events of a run, and its corpora."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from hifitse.checkpoint.file import load_header
from hifitse.config.schema import Config
from hifitse.corpus.corpus import Corpus
from hifitse.errors import CheckpointError
from hifitse.evaluation.result import ValidationResult, comparable_results, readable_results
from hifitse.mixing.curriculum import phase_at
from hifitse.runs.records import Row, read_events, read_metrics
from hifitse.runs.run import Run


@dataclass(frozen=True)
class Finding:
    """A cause, and why it is named."""

    cause: str
    """Its short name, for scripts."""
    title: str
    """In words."""
    evidence: tuple[str, ...]
    """What was measured."""
    remedies: tuple[str, ...]
    """What to do, in configuration keys."""

    def to_json(self) -> dict[str, object]:
        return {"cause": self.cause, "title": self.title, "evidence": self.evidence, "remedies": self.remedies}


@dataclass(frozen=True)
class Evidence:
    config: Config
    results: Sequence[ValidationResult]
    """Validations on the same scenes as the newest, oldest first."""
    steps: Sequence[Row]
    """Rows about training steps."""
    events: Sequence[Row]
    corpus: Corpus | None
    """None: it is not here."""
    optimizer_reset_step: int = 0
    """Of the newest checkpoint; 0: never."""

    @property
    def newest(self) -> ValidationResult:
        return self.results[-1]

    @property
    def first_ta_step(self) -> int | None:
        """The first step with TA scenes, or None."""
        starts = [0, *(phase.until for phase in self.config.curriculum if phase.until is not None)]
        return next((step for step in starts if phase_at(self.config, step).absent_ratio > 0), None)

    @property
    def has_unseen_speakers(self) -> bool:
        """Whether the validation is on speakers that training does not hear."""
        if self.corpus is None:
            return self.config.data.split != "utterance"
        return self.corpus.num_new_speakers > 0

    def known_level(self, result: ValidationResult) -> float | None:
        """Return rms_ratio on training speakers at a validation.

        An older result has none: the mean over the logged steps since the validation before is taken for it.
        """
        if result.train_metrics is not None:
            return result.train_metrics["rms_ratio"]
        before = max((other.step for other in self.results if other.step < result.step), default=0)
        levels = [row.get("rms_ratio") for row in self.steps if before < row.step <= result.step]
        known = [level for level in levels if isinstance(level, float)]
        return sum(known) / len(known) if known else None


def gather(run: Run, config: Config, corpus: Corpus | None) -> Evidence | None:
    """Return what there is to know about the branch of a run that is in place; None where nothing was validated."""
    results = readable_results(run)
    if not results:
        return None
    newest = results[-1]
    return Evidence(
        config=config,
        results=comparable_results(run, newest.scenes_digest, newest.step),
        steps=[row for row in read_metrics(run) if row.kind == "step"],
        events=read_events(run),
        corpus=corpus,
        optimizer_reset_step=_reset_step(run),
    )


def _reset_step(run: Run) -> int:
    for step in reversed(run.checkpoint_steps()):
        with contextlib.suppress(CheckpointError):
            return load_header(run.checkpoint_path(step))[0].optimizer_reset_step
    return 0
