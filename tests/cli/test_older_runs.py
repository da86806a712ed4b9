"""A run of the first version of hifitse, with its names on the disk, goes on as any other."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from hifitse.checkpoint.file import load_header
from hifitse.evaluation.result import read_result
from hifitse.metrics import MAIN_METRICS
from hifitse.runs.records import read_metrics
from hifitse.runs.run import Run
from tests.helpers import Cli

LAYOUT = [
    *(f"abandoned/01/checkpoints/step_{step:08d}.safetensors" for step in (8, 10, 12)),
    "abandoned/01/config.yaml",
    *(f"abandoned/01/exams/step_{step:08d}.json" for step in (8, 12)),
    "abandoned/01/line.json",
    "abandoned/01/metrics.jsonl",
    *(f"checkpoints/step_{step:08d}.safetensors" for step in (2, 4, 6, 8, 10)),
    "config.yaml",
    "events.jsonl",
    *(f"exams/step_{step:08d}.json" for step in (4, 8)),
    "lock",
    "metrics.jsonl",
]
"""What the first version left of such a run, without TensorBoard's log."""
SAMPLE_KEYS = (
    *("index", "present", "si_sdr_db", "si_sdri_db", "rms_estimate", "rms_target"),
    *("energy_db", "suppression_db"),
)


@pytest.fixture
def newer(cli: Cli, trained: Path) -> Run:
    """Twelve steps, then four others after step 6, with another weight; the first branch is archived."""
    arguments = ("--from", 6, "--set", "loss.ta_weight=0.3", "--stop-at", 10)
    assert cli("resume", "--run", trained, *arguments).code == 0
    return Run(trained)


@pytest.fixture
def older(newer: Run, tmp_path: Path) -> Run:
    """The same run with the names that the first version gave its files."""
    run = Run(Path(shutil.copytree(newer.path, tmp_path / "older")))
    shutil.rmtree(run.path / "tensorboard")
    archived = run.path / "abandoned" / "01"
    for folder in (run.path, archived):
        (folder / "validation").rename(folder / "exams")
    note = json.loads((archived / "branch.json").read_text())
    (archived / "line.json").write_text(json.dumps({"after_step": note["after_step"], "digest": note["digest"]}))
    (archived / "branch.json").unlink()
    for folder in (run.path, archived):
        for file in (folder / "exams").iterdir():
            file.write_text(json.dumps(as_first_measured(json.loads(file.read_text()))))
        rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(as_first_measured(row)) + "\n" for row in rows))
    assert files(run) == LAYOUT
    return run


NEWER_KEYS = ("checksum", "train_metrics", "train", "num_new_speakers", "num_steps", "weighted_terms", "machine")


def as_first_measured(data: dict[str, Any]) -> dict[str, Any]:
    """Return a validation result, or a row about one, without what the first version did not measure."""
    kept = {key: value for key, value in data.items() if key not in NEWER_KEYS}
    for key in ("metrics", "raw_metrics", "raw"):
        if key in kept:
            kept[key] = {name: kept[key][name] for name in MAIN_METRICS}
    if "samples" in kept:
        kept["samples"] = [{key: s[key] for key in SAMPLE_KEYS if key in s} for s in kept["samples"]]
    return kept


def files(run: Run) -> list[str]:
    found = [str(path.relative_to(run.path)) for path in run.path.rglob("*") if path.is_file()]
    return sorted(name for name in found if not name.startswith(("tensorboard/", "log.txt")))


def content(run: Run) -> tuple[object, ...]:
    """Return the branch that is in place, in words of today."""
    results = [as_first_measured(read_result(run, step).to_json()) for step in run.validation_steps()]
    rows = [as_first_measured(row.model_dump()) for row in read_metrics(run)]
    digests = {step: load_header(run.checkpoint_path(step))[1] for step in run.checkpoint_steps()}
    return rows, results, digests, run.config_path.read_text()


def test_its_rows_and_results_are_written_with_the_keys_of_the_first_version(older: Run) -> None:
    rows = [json.loads(line) for line in older.metrics_path.read_text().splitlines()]
    validations = [row for row in rows if row["kind"] == "exam"]
    assert [list(row) for row in validations] == [["kind", "step", "metrics", "raw"]] * 2
    result = json.loads(older.validation_path(4).read_text())
    assert list(result) == ["step", "exam_digest", "metrics", "raw_metrics", "terms", "samples"]
    assert {tuple(sample) for sample in result["samples"]} == {
        ("index", "present", "si_sdr_db", "si_sdri_db", "rms_estimate", "rms_target"),
        ("index", "present", "energy_db", "suppression_db"),
    }


def test_it_is_resumed_in_its_own_folders_to_the_same_end(cli: Cli, older: Run, newer: Run) -> None:
    for run in (older, newer):
        outcome = cli("resume", "--run", run.path)
        assert outcome.code == 0, outcome.err
    assert content(older) == content(newer)
    added = ["checkpoints/step_00000012.safetensors", "exams/step_00000012.json"]
    assert files(older) == sorted([*LAYOUT, *added])


def test_it_is_validated_and_selected_from(cli: Cli, older: Run, newer: Run) -> None:
    before = read_result(older, 8)
    for run in (older, newer):
        for step in (6, 8):
            outcome = cli("validate", "--run", run.path, "--from", step)
            assert outcome.code == 0 and "only shown" not in outcome.err
    after = read_result(older, 8)
    assert as_first_measured(after.to_json()) == before.to_json(), "what was measured is the same"
    assert after == read_result(newer, 8), "and what is measured today is added"
    assert files(older) == sorted([*LAYOUT, "exams/step_00000006.json"])
    ours, theirs = (json.loads(cli("select-best", "--run", run.path, "--json").out) for run in (older, newer))
    assert {item["step"] for item in ours["ranking"]} == {4, 6, 8}
    assert [(item["step"], item["metrics"]["tp_si_sdr"]) for item in ours["ranking"]] == [
        (item["step"], item["metrics"]["tp_si_sdr"]) for item in theirs["ranking"]
    ]


def test_its_archived_branch_is_restored_and_again_undoes_it(cli: Cli, older: Run, newer: Run) -> None:
    before = content(older)
    for run in (older, newer):
        outcome = cli("runs", "restore", "--run", run.path, "01")
        assert outcome.code == 0, outcome.err
    assert content(older) == content(newer)
    assert older.checkpoint_steps() == [2, 4, 6, 8, 10, 12]
    assert {path.parent.name for path in older.path.glob("*/step_*.json")} == {"exams"}
    assert not (older.path / "abandoned" / "01").exists()
    assert cli("runs", "restore", "--run", older.path, "02").code == 0
    assert content(older) == before
    assert {path.parent.name for path in older.path.glob("*/step_*.json")} == {"exams"}


def test_going_back_in_it_archives_its_results(cli: Cli, older: Run) -> None:
    before = content(older)
    assert cli("resume", "--run", older.path, "--from", 6, "--stop-at", 7).code == 0
    assert Run(older.path / "abandoned" / "02").validation_steps() == [8]
    assert older.validation_steps() == [4]
    assert cli("runs", "restore", "--run", older.path, "02").code == 0
    assert content(older) == before


def test_it_is_listed_and_forked(cli: Cli, older: Run, tmp_path: Path) -> None:
    (listed,) = json.loads(cli("runs", older.path, "--json").out)
    assert (listed["state"], listed["step"], listed["abandoned"], listed["problems"]) == ("paused", 10, ["01"], [])
    fork = Run(tmp_path / "fork")
    assert cli("resume", "--run", older.path, "--from", 8, "--as", fork.path, "--stop-at", 9).code == 0
    assert [read_result(fork, step) for step in (4, 8)] == [read_result(older, step) for step in (4, 8)]
    assert fork.validation_steps() == [4, 8]
