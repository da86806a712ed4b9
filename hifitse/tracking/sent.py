"""What a tool was sent of a run: runs/demo/trackio/sent.jsonl, which begins anew with each run in the tool.

{"name": "demo/02", "id": "4f0c"}           the run in the tool
{"step": 100, "digest": "0b97d8f2a5c1e643"}   a row of metrics.jsonl that it has
{"closed": true}                            it has nothing else: no process was killed while it sent more
"""

from collections.abc import Sequence
from pathlib import Path

from hifitse import json_log, storage
from hifitse.tracking.rows import Figures


class Sent:
    """The file; may be removed, and everything is sent again, as another run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        rows = json_log.read_rows(path)
        self.head = rows[0] if rows and {"name", "id"} <= rows[0].keys() else {}
        self.entries = [row for row in rows if {"step", "digest"} <= row.keys()]
        self.is_closed = bool(rows) and rows[-1].get("closed") is True

    def kept(self, rows: Sequence[Figures]) -> tuple[int, int | None]:
        """Return how many of the rows the tool surely has and may keep, and the step from which it has to forget.

        What was sent at or after that step may be there or not, or is of steps that were done again. None: it has these
        rows and nothing else.
        """
        pairs = zip(self.entries, rows, strict=False)
        num_equal = next((place for place, (entry, row) in enumerate(pairs) if entry["digest"] != row.digest), None)
        kept = min(len(self.entries), len(rows)) if num_equal is None else num_equal
        if self.is_closed and kept == len(self.entries):
            return kept, None
        # The row after the last one that was noted may have been sent, too, and be of the same step.
        unsure = self.entries[kept : kept + 1] or self.entries[-1:]
        step = unsure[0]["step"] if unsure else 0
        while kept and self.entries[kept - 1]["step"] >= step:
            kept -= 1
        return kept, step

    def begin(self, name: str, run_id: str, kept: int) -> None:
        """Note the run in the tool, and that it has the first rows of those that were noted, and nothing else."""
        self.head, self.entries = {"name": name, "id": run_id}, self.entries[:kept]
        storage.write_text(self.path, json_log.json_lines([self.head, *self.entries]))

    def add(self, rows: Sequence[Figures]) -> None:
        """Note that these rows were sent, too."""
        entries = [{"step": row.step, "digest": row.digest} for row in rows]
        json_log.append_bytes(self.path, json_log.json_lines(entries).encode())
        self.entries += entries

    def close(self) -> None:
        """Note that nothing else was sent."""
        json_log.append_bytes(self.path, json_log.json_lines([{"closed": True}]).encode())
