"""What is reported to every tool, and what it has to be able to do."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from hifitse.config.changes import data_changes
from hifitse.config.files import dump_config, to_data
from hifitse.config.schema import Config
from hifitse.tracking.rows import Figures
from hifitse.tracking.scenes import Media


@dataclass(frozen=True)
class TrackedRun:
    """A branch of a run: in every tool, a run of its own."""

    folder: Path
    """Of the run."""
    branch: int
    """1, or one more than there are archived ones."""
    config: Config

    @property
    def name(self) -> str:
        """Name of the branch: demo, then demo/02, whose archive will be abandoned/02, and so on."""
        return self.group if self.branch == 1 else f"{self.group}/{self.branch:02d}"

    @property
    def group(self) -> str:
        """What all branches of the run have in common."""
        return self.folder.absolute().name

    @property
    def settings(self) -> dict[str, Any]:
        """Every setting that has a value, by its dotted key."""
        return {change.key: change.new for change in data_changes({}, to_data(self.config))}

    @property
    def config_text(self) -> str:
        return dump_config(self.config)


class Tracker(Protocol):
    """A run in a tool. Any method may raise anything: it is reported once, and tried again later."""

    def begin(self) -> str:
        """Begin a run, with its configuration, and return its id."""

    def resume(self, run_id: str, forget_from: int | None) -> bool:
        """Go on in the run of this id, or return that it cannot be: another one is begun then.

        Args:
            forget_from: first step of which the run must not hold anything any more; None: all that it holds is right.
        """

    def log(self, rows: Sequence[Figures]) -> None:
        """Add rows, in the order of metrics.jsonl."""

    def show(self, media: Media) -> None:
        """Add audio and images of a validation."""

    def close(self) -> None:
        """Send what is left; nothing follows."""
