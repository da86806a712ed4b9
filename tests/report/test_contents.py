"""What a report gathers from the records of a run."""

from pathlib import Path

import pytest

from hifitse.config.files import load_config
from hifitse.metrics import Sample
from hifitse.report.contents import differences, gather_contents
from hifitse.report.players import telling_scenes
from hifitse.runs.run import Run
from tests.helpers import Cli


def test_weighted_terms_add_up_to_the_loss_whatever_changed(cli: Cli, trained: Path) -> None:
    changed = ("loss.ta_weight=0.4", "loss.phase_weight=2")
    assert cli("resume", "--run", trained, "--from", 8, *(f"--set={change}" for change in changed)).code == 0
    found = gather_contents(Run(trained), load_config(trained / "config.yaml"), None)
    (archived,) = found.archived
    assert [row["step"] for row in found.in_place.rows] == list(range(1, 13))
    assert [row["step"] for row in archived.rows] == [9, 10, 11, 12]
    for row in [*found.in_place.rows, *archived.rows]:
        terms = [value for name, value in row.items() if name.startswith("term.")]
        assert sum(terms) == pytest.approx(row["loss"], rel=1e-4)
    assert archived.after_step == 8 and [result.step for result in archived.results] == [12]
    assert found.resumes == [8]


def test_settings_that_differ_have_a_value_for_each_run(cli: Cli, trained: Path) -> None:
    config = load_config(trained / "config.yaml")
    others = [load_config(trained / "config.yaml", [f"train.clip_norm={norm}"]) for norm in (2, 3)]
    found = [gather_contents(Run(trained), each, None) for each in (config, *others)]
    assert differences(found) == [("train.clip_norm", [config.train.clip_norm, 2, 3])]


def test_scenes_that_tell_something_are_chosen_once_each() -> None:
    levels = [(0.0, 1.0), (9.0, 1.0), (5.0, 0.1), (4.0, 1.0)]
    present = [
        Sample(i, True, si_sdr_db=sdr, si_sdri_db=sdr, rms_estimate=rms, rms_target=1.0, interferer_si_sdr_db=1.0)
        for i, (sdr, rms) in enumerate(levels)
    ]
    absent = [Sample(9, False, energy_db=-40.0, suppression_db=3.0)]
    assert telling_scenes([*present, *absent]) == {
        1: "best",
        2: "median, rejected",
        0: "worst, confused",
        9: "target absent, median, target absent, least suppressed",
    }
