"""Which models there are to choose from: the checkpoints of a run, as of now, and the one that comes with hifitse."""

from dataclasses import dataclass
from pathlib import Path

from hifitse.checkpoint.export import BUNDLED_MODEL
from hifitse.evaluation.result import ValidationResult, readable_results
from hifitse.metrics import Metric
from hifitse.runs.checkpoint_ref import CheckpointRef
from hifitse.runs.records import read_best
from hifitse.runs.run import Run


@dataclass(frozen=True)
class Choice:
    """A model, by what `hifitse.checkpoint.export.load_trained` takes."""

    label: str
    source: str


@dataclass(frozen=True)
class Choices:
    """What there is to choose from, and what is chosen to begin with."""

    run: Run | None
    """None: there is none, only exported models."""
    metric: Metric
    """By which the checkpoints of the run are ranked."""
    given: str | None
    """What was named: an exported model, or of the run a step, last, best or a file. None: the best, else the last."""

    def now(self) -> tuple[list[Choice], str]:
        """Return all models, the newest first, and the source of the one to begin with.

        Raises:
            UsageError: what was named is not there.
        """
        choices, first = self._of_run(self.run) if self.run else [], self._first_source()
        choices.append(Choice("the model that comes with hifitse", BUNDLED_MODEL))
        if first not in [choice.source for choice in choices]:
            choices.insert(0, Choice(Path(first).name, first))
        return choices, first

    def _first_source(self) -> str:
        if self.run is None:
            return self.given or BUNDLED_MODEL
        ref = CheckpointRef(self.given or ("best" if read_best(self.run) else "last"))
        return str(ref.path(self.run))

    def _of_run(self, run: Run) -> list[Choice]:
        best, steps = read_best(run), run.checkpoint_steps()
        results = {result.step: result for result in readable_results(run)}
        choices = []
        if best and best.average:
            source = str(run.average_path(best.average))
            choices.append(Choice(f"average up to step {best.step} · {best.metric} {best.value:.2f} · best", source))
        for step in reversed(steps):
            facts = [f"step {step}", *_figure(results.get(step), self.metric)]
            facts += ["best"] if best and best.step == step and not best.average else []
            facts += ["last"] if step == steps[-1] else []
            choices.append(Choice(" · ".join(facts), str(run.checkpoint_path(step))))
        return choices


def _figure(result: ValidationResult | None, metric: Metric) -> list[str]:
    if result is None or metric.name not in result.metrics:
        return []
    return [f"{metric.name} {result.metrics[metric.name]:.2f} {metric.unit}".rstrip()]
