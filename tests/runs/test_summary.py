"""What `hifitse runs` knows of a run: states, families, sizes; and that nothing on a disk can stop it."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest
import torch

from hifitse.checkpoint.file import Header, load_checkpoint, load_header, save_checkpoint
from hifitse.config.files import load_config
from hifitse.errors import UsageError
from hifitse.runs.branches import archive_after, archive_copy, new_folder
from hifitse.runs.fork import fork
from hifitse.runs.records import Row, write_metrics
from hifitse.runs.run import Run, find_runs
from hifitse.runs.summary import state, summarize
from hifitse.runs.tree import forest
from tests.helpers import append_rows


def make(path: Path, *steps: int, kinds: str = "started finished", total_steps: int = 30) -> Run:
    run = Run(path)
    path.mkdir(parents=True)
    run.config_path.write_text(f"train: {{total_steps: {total_steps}}}\n")
    for step in steps:
        tensors = {"model/w": torch.full((1000,), float(step))}
        save_checkpoint(run.checkpoint_path(step), Header(step, {"name": path.name}, ""), tensors)
        append_rows(run.metrics_path, {"kind": "step", "step": step})
    for kind in kinds.split():
        append_rows(run.events_path, {"kind": kind, "step": 0})
    return run


def make_fork(source: Run, step: int, path: Path) -> Run:
    file = source.checkpoint_path(step)
    with Run(path).lock():
        fork(source, file, load_checkpoint(file), Run(path), load_config("demo"))
    return Run(path)


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        ("started", "failed"),
        ("started sick", "failed"),
        ("started finished", "finished"),
        ("started paused", "paused"),
        ("started paused resumed deleted", "failed"),
        ("started interrupted", "interrupted"),
        ("started interrupted config_changed", "interrupted"),
        ("started stopped", "stopped"),
        ("started finished restored", "paused"),
        ("", "unknown"),
    ],
)
def test_the_last_thing_that_happened_tells_the_state(kinds: str, expected: str) -> None:
    events = [Row(kind=kind, step=20) for kind in kinds.split()]
    assert state(events, False, 20, 30) == (expected, None)
    assert state(events, True, 20, 30) == ("training", None)


def test_a_guard_that_stopped_a_run_is_named() -> None:
    events = [Row(kind="started", step=0), Row(kind="stopped", step=5, guard="level_low")]
    assert state(events, False, 5, 30) == ("stopped", "level_low")


def test_a_run_that_is_older_than_events_or_holds_nothing() -> None:
    assert state([], False, 30, 30)[0] == "finished"
    assert state([], False, 20, 30)[0] == "unknown"
    assert state([], False, 0, None)[0] == "empty"


def test_a_held_lock_is_seen_and_not_taken_away(tmp_path: Path) -> None:
    run = make(tmp_path / "run", 10, kinds="started")
    assert not run.is_locked()
    with run.lock():
        assert summarize(run.path).state == "training"
        with pytest.raises(UsageError, match="is training this run"):
            with run.lock():
                pass
    assert summarize(run.path).state == "failed"
    with run.lock():
        pass


def test_the_step_is_the_newest_on_the_disk_whatever_the_log_ends_with(tmp_path: Path) -> None:
    run = make(tmp_path / "run", 10, 20)
    for step in range(21, 400):
        append_rows(run.metrics_path, {"kind": "step", "step": step, "padding": "x" * 100})
    with run.metrics_path.open("a") as file:
        file.write('{"kind": "step", "step": 4')
    assert summarize(run.path).step == 399


def test_runs_are_found_at_any_depth_and_no_run_inside_a_run(tmp_path: Path) -> None:
    make(tmp_path / "runs/b", 10)
    inner = make(tmp_path / "runs/a/seed0/base", 10, 20)
    write_metrics(inner, [Row(kind="step", step=step) for step in (10, 20)])
    archive_after(inner, 10)
    (tmp_path / "runs/loop").symlink_to(tmp_path / "runs")
    (tmp_path / "runs/README.md").write_text("text")
    found = [str(path.relative_to(tmp_path)) for path in find_runs(tmp_path / "runs")]
    assert found == ["runs/a/seed0/base", "runs/b"]
    assert find_runs(inner.path) == [inner.path]


def family(folder: Path) -> list[tuple[str, int, str | None]]:
    members = forest([summarize(path) for path in find_runs(folder)])
    return [(m.summary.path.name, m.depth, m.parent.name if m.parent else None) for m in members]


def test_forks_stand_under_their_origin_while_it_is_there(tmp_path: Path) -> None:
    base = make(tmp_path / "base", 10, 20)
    first = make_fork(base, 20, tmp_path / "first")
    make_fork(base, 10, tmp_path / "early")
    make_fork(first, 20, tmp_path / "grandchild")
    make(tmp_path / "other", 10, 20)
    expected = [("base", 0, None), ("early", 1, "base"), ("first", 1, "base"), ("grandchild", 2, "first")]
    assert family(tmp_path) == [*expected, ("other", 0, None)]
    shutil.rmtree(tmp_path / "base")
    assert family(tmp_path) == [
        ("early", 0, None),
        ("first", 0, None),
        ("grandchild", 1, "first"),
        ("other", 0, None),
    ]


def test_origins_that_contradict_each_other_hide_no_run(tmp_path: Path) -> None:
    for name, other in (("a", "b"), ("b", "a"), ("c", "c")):
        run = make(tmp_path / name)
        run.origin_path.write_text(json.dumps({"source": str(tmp_path / other), "step": 1, "digest": "x"}))
    assert sorted(name for name, _, _ in family(tmp_path)) == ["a", "b", "c"]


def test_hard_links_are_counted_once(tmp_path: Path) -> None:
    run = make(tmp_path / "run", 10, 20)
    before = sum(summarize(run.path).files.values())
    archive_copy(run, 10, new_folder(run))
    assert sum(summarize(run.path).files.values()) == before


@pytest.mark.parametrize(
    "name",
    [
        *("config.yaml", "events.jsonl", "metrics.jsonl", "best.json", "pins.json", "origin.json", "lock"),
        *("abandoned", "checkpoints/step_00000010.safetensors", "checkpoints"),
    ],
)
def test_no_damage_stops_the_listing(tmp_path: Path, name: str) -> None:
    base = make(tmp_path / "base", 10)
    path = make_fork(base, 10, tmp_path / "run").path / name
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    def check() -> None:
        members = forest([summarize(path) for path in find_runs(tmp_path)])
        assert {member.summary.path.name for member in members} == {"base", "run"}
        json.dumps([member.summary.to_json() for member in members])

    for text in ("", "\x00\xff", "[]", "{}", "null", "3", '{"a": ', "[1]}", '{"step": "x"}'):
        path.write_text(text, encoding="latin-1")
        check()
    path.unlink()
    check()
    path.mkdir()
    check()


def test_a_file_that_vanishes_meanwhile_is_no_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make(tmp_path / "run", 10)
    lstat = os.lstat

    def vanish(path: str) -> os.stat_result:
        Path(path).unlink() if str(path).endswith(".tmp") else None
        return lstat(path)

    (run.path / ".metrics.jsonl.abc123.tmp").write_text("")
    monkeypatch.setattr(os, "lstat", vanish)
    assert summarize(run.path).problems == []


def test_a_hundred_runs_are_listed_in_no_time(tmp_path: Path) -> None:
    base = make(tmp_path / "base", *range(10, 110, 10))
    for number in range(100):
        path = shutil.copytree(base.path, tmp_path / f"run{number:02d}", copy_function=os.link)
        origin = {"source": str(base.path), "step": 10, "digest": load_header(base.checkpoint_path(10))[1]}
        (path / "origin.json").write_text(json.dumps(origin))
    started = time.perf_counter()
    assert len(forest([summarize(path) for path in find_runs(tmp_path)])) == 101
    assert time.perf_counter() - started < 3
