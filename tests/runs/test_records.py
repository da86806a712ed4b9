"""The records of a run: what is read comes back as it was written, and what cannot be read is named."""

import contextlib
import json
import math
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from hifitse.errors import RecordError, UsageError
from hifitse.runs.records import (
    Best,
    Origin,
    Row,
    is_validated,
    pin,
    read_best,
    read_events,
    read_metrics,
    read_origin,
    read_pins,
    unpin,
    write_metrics,
    write_record,
)
from hifitse.runs.run import Run
from hifitse.storage import write_json, write_text
from tests.helpers import append_rows


@pytest.fixture
def run(tmp_path: Path) -> Run:
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    return Run(tmp_path / "run")


def test_rows_of_something_else_are_left_out(run: Run) -> None:
    rows = [{"kind": "step", "step": 1, "loss": 0.5}, {"kind": "exam", "step": 1}]
    foreign = [
        {"step": 1},
        {"kind": "step"},
        {"kind": "step", "step": "one"},
        {"kind": 3, "step": 1},
        {"kind": "step", "step": 1.5},
        {"kind": "step", "step": 10**8},
        {"kind": "step", "step": True},
    ]
    append_rows(run.metrics_path, rows[0], *foreign, rows[1])
    append_rows(run.events_path, {"kind": "started", "step": 0}, *foreign)
    with run.metrics_path.open("a") as file:
        file.write("[" * 100_000 + '\n[1, 2]\n3\n{"kind": "\\ud800", "step": 1}\n{"kind": "step", "st')
    assert [row.model_dump() for row in read_metrics(run)] == rows
    assert [row.is_validation for row in read_metrics(run)] == [False, True]
    assert [row.kind for row in read_events(run)] == ["started"]


def test_rows_are_written_back_byte_for_byte(run: Run) -> None:
    append_rows(
        run.metrics_path,
        {"kind": "step", "step": 1, "loss": 0.1 + 0.2, "terms": {"b": 1e-300, "a": [1, None, "é"]}},
        {"kind": "step", "step": 2, "loss": math.nan, "grad_norm": math.inf, "skipped": "non_finite"},
    )
    before = run.metrics_path.read_bytes()
    write_metrics(run, read_metrics(run))
    assert run.metrics_path.read_bytes() == before


def test_a_row_gives_what_its_kind_has(run: Run) -> None:
    row = Row(kind="step", step=3, loss=0.5)
    assert (row.kind, row.step, row.get("loss"), row.get("other")) == ("step", 3, 0.5, None)


def test_what_is_not_there_is_nothing(run: Run) -> None:
    assert (read_best(run), read_origin(run), read_pins(run)) == (None, None, {})
    assert read_metrics(run) == read_events(run) == []


def test_records_come_back_as_they_were_written(run: Run) -> None:
    best, origin = Best(step=3, metric="tp_si_sdr", value=-1.5), Origin(source="a.pt", step=3, digest="x")
    for write in (write_record, lambda path, record: write_json(path, record.model_dump())):
        write(run.best_path, best)
        write(run.origin_path, origin)
        assert (read_best(run), read_origin(run)) == (best, origin), "those of older runs have no checksum"


def flipped(content: bytes, rng: random.Random) -> bytes:
    damaged = bytearray(content)
    damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def test_a_flipped_bit_never_makes_another_record(run: Run) -> None:
    run.checkpoint_path(30).touch()
    pin(run, 30, "the one in the paper")
    write_record(run.best_path, Best(step=30, metric="tp_si_sdr", value=-1.5))
    write_record(run.origin_path, Origin(source="a.pt", step=3, digest="x"))
    rng = random.Random(0)
    for path, read in ((run.best_path, read_best), (run.origin_path, read_origin), (run.pins_path, read_pins)):
        whole, record = path.read_bytes(), read(run)
        for _ in range(300):
            path.write_bytes(flipped(whole, rng))
            with contextlib.suppress(RecordError):
                assert read(run) == record
        path.write_bytes(whole)


@pytest.mark.parametrize("change", [{"step": -1}, {"step": 10**8}, {"step": 1.0}, {"value": math.nan}, {"metric": "x"}])
def test_what_cannot_be_is_refused(run: Run, change: dict[str, object]) -> None:
    write_json(run.best_path, {"step": 3, "metric": "tp_si_sdr", "value": 1.0} | change)
    with pytest.raises(RecordError, match=f"best.json: unreadable .{next(iter(change))}: "):
        read_best(run)


def test_only_files_are_read(run: Run) -> None:
    os.mkfifo(run.best_path)
    with pytest.raises(RecordError, match="not a regular file"):
        read_best(run)


@pytest.mark.parametrize("text", ["", "[1, 2]", "null", '{"step": "x"}', "{torn", "\udcff"])
@pytest.mark.parametrize(
    ("name", "read", "remedy"),
    [
        ("best.json", read_best, "remove it and repeat hifitse select-best --run "),
        ("origin.json", read_origin, "or remove it"),
        ("pins.json", read_pins, "remove it and pin again"),
    ],
)
def test_a_record_that_cannot_be_read_is_named_with_the_remedy(
    run: Run, name: str, read: Callable[[Run], object], remedy: str, text: str
) -> None:
    (run.path / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(RecordError) as caught:
        read(run)
    message = str(caught.value)
    assert message.startswith(f"{run.path / name}: unreadable (") and remedy in message
    assert "\n" not in message


def test_a_validation_is_complete_with_its_result_and_its_row(run: Run) -> None:
    append_rows(run.metrics_path, {"kind": "step", "step": 4}, {"kind": "exam", "step": 8})
    for step in (4, 8):
        assert not is_validated(run, step)
        write_text(run.validation_path(step), "{}")
    assert not is_validated(run, 4) and is_validated(run, 8)


def test_pins_are_kept_by_step_with_their_reasons(run: Run) -> None:
    for step in (200, 30):
        run.checkpoint_path(step).touch()
        pin(run, step, f"because of {step}")
    pin(run, 30, "another reason")
    pins = read_pins(run)
    assert [(step, pinned.reason) for step, pinned in pins.items()] == [(30, "another reason"), (200, "because of 200")]
    assert list(json.loads(run.pins_path.read_text())) == ["30", "200", "checksum"]
    unpin(run, 30)
    assert read_pins(run) == {200: pins[200]}
    with pytest.raises(UsageError, match="step 30 is not pinned; pinned: 200"):
        unpin(run, 30)
    with pytest.raises(UsageError, match="there is no checkpoint of step 7"):
        pin(run, 7, "")
