"""What people see, on a terminal and in a pipe."""

import io

import pytest
from rich.console import Console

from hifitse.config.files import load_config
from hifitse.console import duration
from hifitse.evaluation.validation import ValidationResult
from hifitse.report.live import TrainingDisplay
from hifitse.training.step import StepResult
from tests.helpers import TINY

METRICS = {"tp_si_sdr": 1.0, "tp_si_sdri": 3.0, "rms_ratio": 0.95, "ta_energy_db": -40.0, "ta_suppression_db": 20.0}


def result(step: int) -> StepResult:
    terms = {"neg_si_sdr": 1.25, "absent": 2.5}
    return StepResult(step, "tp_ta", 1e-3, 0.5, terms, 3.0, None, rms_ratio=0.9, ta_energy_db=-35.0)


@pytest.mark.parametrize("width", [80, 120])
def test_the_live_table_shows_everything_and_fits(width: int) -> None:
    shown = TrainingDisplay(load_config(TINY), "cpu", 12)
    shown.step(result(1), 2.0, 0.5)
    shown.exam(ValidationResult(1, "", METRICS | {"val_loss": 0.1}, METRICS, {}, ()))
    written = io.StringIO()
    Console(width=width, file=written).print(shown._table())
    text = written.getvalue()
    for part in (
        "1/12",
        "tp_ta",
        "neg_si_sdr 1.250",
        "0.900",
        "-35.000",
        "2.0 on cpu",
        "25% for data",
        "22 s",
        "3.00 dB",
    ):
        assert part in text, part
    assert max(len(line) for line in text.splitlines()) <= width


def test_a_pipe_gets_whole_lines_at_the_log_cadence(capsys: pytest.CaptureFixture[str]) -> None:
    config = load_config(TINY, ["train.log_every=2"])
    with TrainingDisplay(config, "cpu", 12) as shown:
        for step in (1, 2, 3, 4):
            shown.step(result(step), 2.0, 0.5)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[1] for line in lines] == ["2/12", "4/12"]
    assert all("ta_energy_db -35.000" in line for line in lines)


def test_durations_are_said_as_people_say_them() -> None:
    assert [duration(s) for s in (5, 300, 7200, 9e5)] == ["5 s", "5 min", "2.0 h", "10 days"]
