"""A new training with weights of an earlier one: every tensor that fits, and a word on each that does not."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from hifitse.checkpoint.export import find_model, load_weights_of
from hifitse.checkpoint.weights import weightless_model
from hifitse.config.changes import ClassifiedChange, classify_change, data_changes
from hifitse.config.files import to_data
from hifitse.config.schema import Config
from hifitse.errors import CheckpointError
from hifitse.runs.events import EventLog
from hifitse.runs.records import Origin, write_record
from hifitse.runs.run import Run
from hifitse.training.state import TrainState


@dataclass(frozen=True)
class Initial:
    """What ``--init`` brings to a new training of the configured network."""

    origin: Origin
    weights: dict[str, Tensor]
    """Those that fit."""
    misshapen: list[str]
    """A line for each tensor whose shape differs; the network's own is drawn from the seed, as without ``--init``."""
    skipped: list[str]
    """Names of tensors that the network does not have."""
    drawn: list[str]
    """Names of tensors that the file does not have; they are drawn from the seed."""
    changes: list[ClassifiedChange]
    """Settings of the network, and the sample rate, that differ from those that the weights were trained with."""

    @classmethod
    def read(cls, source: str | Path, config: Config) -> "Initial":
        """Read an exported model, a checkpoint or the bundled model, and compare it with the configured network.

        Raises:
            CheckpointError: the file is missing, damaged or neither, a weight is not finite, or nothing fits.
            UsageError: no model is bundled.
        """
        found = load_weights_of(find_model(source))
        network = weightless_model(config.model, config.audio.sample_rate)
        shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
        common = {name: tensor for name, tensor in found.tensors.items() if name in shapes}
        weights = {name: tensor for name, tensor in common.items() if tuple(tensor.shape) == shapes[name]}
        here = to_data(config)["model"]
        if not weights:
            kinds = f"model.kind is {found.settings['model']['kind']} there and {here['kind']} here"
            raise CheckpointError(
                f"--init {source}: none of its {len(found.tensors)} tensors fits the configured network ({kinds}); "
                "configure the network of the file, or leave out --init"
            )
        if broken := [name for name, tensor in weights.items() if not tensor.isfinite().all()]:
            raise CheckpointError(f"--init {source}: {broken[0]} is not finite; use another file")
        now = {"audio": {"sample_rate": config.audio.sample_rate}, "model": here}
        changes = [classify_change(change) for change in data_changes(found.settings, now)]
        return cls(
            Origin(source=str(source), step=found.step, digest=found.digest),
            weights,
            [f"{n} ({_size(common[n].shape)}, here {_size(shapes[n])})" for n in common if n not in weights],
            [name for name in found.tensors if name not in shapes],
            [name for name in shapes if name not in found.tensors],
            [change for change in changes if change.change_class != "free"],
        )

    def apply(self, state: TrainState) -> None:
        """Put the weights into the model and its EMA; the optimizer stays fresh."""
        for network in (state.model, state.ema):
            network.load_state_dict(self.weights, strict=False)
        state.parent = self.origin.digest

    def lines(self) -> list[str]:
        """Say in words what became of every tensor."""
        listed = {
            "loaded": [*self.weights],
            "misshapen": self.misshapen,
            "skipped, the network has none of that name": self.skipped,
            "drawn from the seed, the file has none of that name": self.drawn,
        }
        begin = f"begins with the weights of {self.origin.source}, step {self.origin.step}"
        return [begin, *(f"{len(names)} {what}: {', '.join(names)}" for what, names in listed.items() if names)]

    def record(self, run: Run, events: EventLog) -> None:
        """Note in a run where it comes from; its lock is held."""
        write_record(run.origin_path, self.origin)
        events.record(
            "initialized",
            0,
            self.lines()[0],
            loaded=[*self.weights],
            misshapen=self.misshapen,
            skipped=self.skipped,
            drawn=self.drawn,
            changes=[change.to_json() for change in self.changes],
        )


def _size(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape)) or "scalar"
