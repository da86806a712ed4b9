"""Perceptual metrics of a validation: measured where they are asked for, kept, and selected by."""

import json
from pathlib import Path

import pytest

from hifitse.evaluation.result import read_result
from hifitse.runs.records import read_best
from hifitse.runs.run import Run
from tests.helpers import Cli


def test_a_validation_measures_them_and_selection_ranks_by_them(cli: Cli, trained: Path) -> None:
    run, plain = Run(trained), read_result(Run(trained), 8)
    outcome = cli("select-best", "--run", trained, "--metric", "tp_pesq_nb")
    assert outcome.code == 1 and "--metrics pesq_nb" in outcome.err
    found = {}
    for step in (8, 12):
        outcome = cli("validate", "--run", trained, "--from", step, "--metrics", "pesq_nb, stoi", "--json")
        assert outcome.code == 0, outcome.err
        found[step] = json.loads(outcome.out)
        assert {"mean", "median"} <= found[step]["intervals"]["tp_stoi"].keys()
    kept = read_result(run, 8)
    assert kept.metrics == found[8]["metrics"] and kept.without_perceptual() == plain
    values = [sample.perceptual["pesq_nb"] for sample in kept.samples if sample.perceptual]
    assert len(values) == sum(sample.present for sample in kept.samples)
    assert kept.metrics["tp_pesq_nb"] == pytest.approx(sum(values) / len(values))
    # A plain validation afterwards takes nothing away.
    assert cli("validate", "--run", trained, "--from", 8).code == 0
    assert read_result(run, 8) == kept
    outcome = cli("select-best", "--run", trained, "--metric", "tp_pesq_nb", "--require", "tp_stoi>=0.0001")
    assert outcome.code == 0, outcome.err
    assert "tp_pesq_nb" in outcome.out and "left out" in outcome.out
    best = read_best(run)
    assert best and best.step == max(found, key=lambda step: found[step]["metrics"]["tp_pesq_nb"])


def test_what_is_unknown_or_beyond_the_rate_is_told_at_once(cli: Cli, trained: Path) -> None:
    outcome = cli("validate", "--run", trained, "--metrics", "pesq_wb")
    assert outcome.code == 2 and "is defined at 16000 Hz" in outcome.err
    outcome = cli("select-best", "--run", trained, "--metric", "tp_pesk")
    assert outcome.code == 2 and "unknown metric 'tp_pesk'" in outcome.err and "tp_pesq_wb" in outcome.err
