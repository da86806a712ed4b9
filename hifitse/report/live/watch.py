"""The view of a run from its files alone: from another terminal, or another machine that shares the disk."""

from typing import Any

from hifitse.config.files import load_config
from hifitse.report.live.view import View
from hifitse.runs.heartbeat import read_heartbeat
from hifitse.runs.records import Row, read_events, read_metrics
from hifitse.runs.run import Run
from hifitse.runs.summary import is_trained, state


class Watched:
    """A run that somebody trains, somewhere. Reads only: whether its lock is held is asked without taking it."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.config = load_config(run.config_path)
        self.num_told = 0

    def view(self) -> View:
        """Read where the run is now.

        Raises:
            OSError: a file of it cannot be read.
        """
        beat, rows = read_heartbeat(self.run), read_metrics(self.run)
        step = max([beat.step if beat else 0, *(row.step for row in rows[-2:])])
        found, guard = state(read_events(self.run), is_trained(self.run, beat), step, self.config.train.total_steps)
        return View(self.run.name, self.config, f"stopped by {guard}" if guard else found, beat, rows)

    def news(self) -> list[Row]:
        """Return the events since the last call; at first the last few."""
        events = read_events(self.run)
        start, self.num_told = self.num_told or max(len(events) - 3, 0), len(events)
        return events[start:]


def to_json(view: View) -> dict[str, Any]:
    """Return a view as data."""
    last = view.validations[-1] if view.validations else None
    return {
        "run": view.name,
        "state": view.state,
        "step": view.step,
        "total_steps": view.config.train.total_steps,
        "heartbeat": view.beat and view.beat.model_dump(),
        "validation": last and {"step": last.step, "metrics": last.get("metrics")},
    }
