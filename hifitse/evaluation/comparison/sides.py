"""What is compared: a checkpoint of a run, an exported model, or a finished evaluation; as A and B name them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hifitse.checkpoint.export import find_model, load_trained, network_settings
from hifitse.checkpoint.file import Header, load_header
from hifitse.config.changes import Change, config_changes, data_changes
from hifitse.config.files import from_data
from hifitse.errors import UsageError
from hifitse.evaluation.result import ValidationResult, read_result
from hifitse.evaluation.scoring.rows import read_pairs
from hifitse.evaluation.validation import validate
from hifitse.experiment import Experiment
from hifitse.metrics import Sample
from hifitse.runs.checkpoint_ref import CheckpointRef
from hifitse.runs.records import read_best, read_record
from hifitse.runs.run import Run

_PAIRS = "pairs.jsonl"
_OF_LIST = ("digest", "num_pairs", "sample_rate")
"""What two evaluations have in common that can be compared."""


@dataclass(frozen=True)
class Side:
    """A model, and what is known of it."""

    name: str
    path: Path
    header: Header
    run: Run | None
    """None: it is a file."""
    result: ValidationResult | None
    """What the run keeps of its validation."""

    @classmethod
    def parse(cls, text: str) -> "Side":
        """Read ``RUN``, ``RUN@STEP`` or ``FILE``; a run alone means its best if one was chosen, else its last.

        Raises:
            UsageError: there is no such run, checkpoint or file.
            CheckpointError: its header is damaged.
            RecordError: its validation is.
        """
        if text == "bundled" or text.endswith(".safetensors"):
            path = find_model(text)
            if not path.is_file():
                raise UsageError(f"{path}: no such file in {Path.cwd()}")
            return cls(text, path, load_header(path)[0], None, None)
        name, at, source = text.rpartition("@")
        if not at or Run.named(text).exists():
            name, source = text, ""
        run = Run.named(name)
        run.require()
        ref = CheckpointRef(source or ("best" if read_best(run) else "last"))
        if ref.file:
            raise UsageError(f"{text}: after @ comes a step, last or best; a file is given by itself")
        path = ref.path(run)
        header, step = load_header(path)[0], load_header(path)[0].step
        if path != run.checkpoint_path(step):
            kept = path.with_suffix(".json")
            result = read_record(kept, ValidationResult, "remove it") if kept.exists() else None
            return cls(f"{run.argument}@best, an average up to step {step}", path, header, run, result)
        result = read_result(run, step) if run.validation_path(step).exists() else None
        return cls(f"{run.argument}@{step}", path, header, run, result)

    def measure(self, experiment: Experiment, progress: Callable[[int], None]) -> Sequence[Sample]:
        """Return what the model makes of each validation scene of an experiment.

        Args:
            progress: called with how many scenes are done.

        Raises:
            UsageError: it is of another sample rate.
            CheckpointError: it is damaged.
        """
        trained = load_trained(self.path)
        rate = experiment.config.audio.sample_rate
        if trained.sample_rate != rate:
            raise UsageError(
                f"{self.name}: a model for {trained.sample_rate} Hz, and the scenes have {rate} Hz; measure both on "
                "one list with hifitse evaluate, and compare the folders"
            )
        return validate(trained.network.to(experiment.device), None, experiment, trained.step, progress).samples

    @property
    def _is_exported(self) -> bool:
        return "data" not in self.header.config

    def changes_to(self, other: "Side") -> list[Change]:
        """Return the settings that differ; of an exported model they are those of the network and the sample rate."""
        headers = (self.header, other.header)
        if self._is_exported or other._is_exported:
            return data_changes(*map(network_settings, headers))
        ours, theirs = (from_data(header.config, f"the checkpoint of step {header.step}") for header in headers)
        return config_changes(ours, theirs)


def is_evaluation(text: str) -> bool:
    """Tell whether A or B is a folder that hifitse evaluate has written."""
    return (Path(text) / _PAIRS).is_file()


def read_evaluations(*folders: str) -> list[list[Sample]]:
    """Return the pairs of finished evaluations of the same list, in the order of the list.

    Raises:
        UsageError: one is not finished, or they are of different lists.
        RecordError: one is damaged.
    """
    found, lists = [], []
    for folder in folders:
        header, results = read_pairs(Path(folder) / _PAIRS)
        if header is None or len(results) < header["num_pairs"]:
            raise UsageError(f"{folder}: not finished; repeat the hifitse evaluate that wrote it")
        found.append(sorted((result.sample for result in results), key=lambda sample: sample.index))
        lists.append({key: header[key] for key in _OF_LIST})
    for folder, facts in zip(folders, lists, strict=True):
        if other := [key for key in _OF_LIST if facts[key] != lists[0][key]]:
            values = f"{other[0]} {lists[0][other[0]]} there, {facts[other[0]]} here"
            raise UsageError(f"{folder}: another list than that of {folders[0]} ({values}); evaluate both on one list")
    return found
