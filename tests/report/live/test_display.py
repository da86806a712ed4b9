"""What people see of a training, on a terminal and in a pipe."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from hifitse.config.files import load_config
from hifitse.console import duration
from hifitse.evaluation.result import ValidationResult
from hifitse.experiment import Experiment
from hifitse.report.live.display import TrainingDisplay
from hifitse.report.live.lines import TimeLeft
from hifitse.runs.run import Run
from hifitse.training.meter import Meter
from hifitse.training.step import StepResult, TrainingSession
from tests.helpers import TINY

METRICS = {"tp_si_sdr": 1.0, "tp_si_sdri": 3.0, "rms_ratio": 0.95, "ta_energy_db": -40.0, "ta_suppression_db": 20.0}


class Shown:
    """The display of the tiny training, and the meter that tells it where the training is."""

    def __init__(self, folder: Path, *overrides: str) -> None:
        experiment = Experiment.build(load_config(TINY, overrides), torch.device("cpu"))
        self.display = TrainingDisplay(TrainingSession.fresh(experiment), Run(folder), 12)
        self.meter = Meter(experiment, 0, 12)

    def step(self, step: int, seconds: float, waited_seconds: float) -> None:
        terms = {"neg_si_sdr": 1.25, "absent": 2.5}
        result = StepResult(step, "tp_ta", 1e-3, 0.5, terms, terms, 3.0, None, rms_ratio=0.9, ta_energy_db=-35.0)
        self.meter.step(result, seconds, waited_seconds)
        self.display.step(self.meter.beat, None, seconds)


MakeShown = Callable[..., Shown]


def validation_result(step: int) -> ValidationResult:
    metrics = METRICS | {"val_loss": 0.1}
    return ValidationResult.model_construct(step=step, metrics=metrics, model_metrics=metrics)


@pytest.fixture
def make_shown(tmp_path: Path) -> MakeShown:
    return lambda *overrides: Shown(tmp_path, *overrides)


def test_a_pipe_gets_whole_lines_at_the_log_cadence(make_shown: MakeShown, capsys: pytest.CaptureFixture[str]) -> None:
    shown = make_shown("train.log_every=2")
    with shown.display:
        for step in (1, 2, 3, 4):
            shown.step(step, 2.0, 0.5)
    announced, *lines = capsys.readouterr().err.splitlines()
    assert announced.startswith("training compact (") and "12 steps of 4 scenes from step 0" in announced
    # Three steps of 2 s are the first that last 5 s; the first of all, a short one, is not counted.
    assert lines.pop(1) == "about 16 s left (2 s a step), validations not counted"
    assert [line.split()[1] for line in lines] == ["2/12", "4/12"]
    for part in ("phase tp_ta", "neg_si_sdr 1.250", "rms_ratio 0.900", "ta_energy_db -35.000", "2.0 on cpu", "25% for"):
        assert all(part in line for line in lines), part


@pytest.mark.parametrize(
    ("compiles", "first_seconds", "said"),
    [
        (False, 4.0, "about 27 s left (3 s a step)"),
        (False, 10.0, "about 2 min left (10 s a step)"),
        (True, 10.0, "about 27 s left (3 s a step)"),
    ],
    ids=[
        "a short first step starts things up and does not count",
        "a long one is all there is to go by",
        "one that compiled the network does not count either",
    ],
)
def test_how_long_is_left_is_said_once(compiles: bool, first_seconds: float, said: str) -> None:
    left = TimeLeft(12, compiles)
    lines = [left.step(step, first_seconds if step == 1 else 3.0) for step in range(1, 11)]
    assert [line for line in lines if line] == [said]


def test_a_pipe_gets_a_line_for_each_validation(make_shown: MakeShown, capsys: pytest.CaptureFixture[str]) -> None:
    shown = make_shown()
    shown.display.validation(shown.meter.beat, validation_result(8))
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("validation at step 8: tp_si_sdr 1.00 dB") and "val_loss 0.10" in line


def test_durations_are_said_as_people_say_them() -> None:
    assert [duration(s) for s in (5, 300, 7200, 9e5)] == ["5 s", "5 min", "2.0 h", "10 days"]
