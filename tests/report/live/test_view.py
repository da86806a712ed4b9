"""The view of a training: all that matters, in whatever terminal."""

import io
import re
import time
from typing import Any

import pytest
from rich.console import Console

from hifitse.config.files import load_config
from hifitse.report.live.sparkline import sparkline
from hifitse.report.live.view import View
from hifitse.runs.heartbeat import STALE_SECONDS, Heartbeat
from hifitse.runs.records import Row
from tests.helpers import TINY

MEANS = {"loss": 1.5, "rms_ratio": 0.95, "grad_norm": 3.0, "ta_energy_db": -35.0}
WEIGHTED = {"weighted_terms.neg_si_sdr": 1.25, "weighted_terms.absent": 0.25}
BOUNDS = ("health.guards.level_low.below=0.5", "selection.require=[rejection_rate<=0.3]")


def beat(**changes: Any) -> Heartbeat:
    place: dict[str, Any] = {"time": time.time(), "host": "node7", "process": 77, "device": "cuda:0", "first_step": 0}
    place |= {"step": 8, "stop_at": 12, "total_steps": 12, "phase": "tp_ta", "activity": "training", "num_scenes": 12}
    place |= {
        "means": MEANS | WEIGHTED,
        "scenes_per_second": 65.4,
        "wait_share": 0.25,
        "peak_memory_bytes": 3_200_000_000,
    }
    return Heartbeat.model_validate(place | {"remaining_seconds": 600.0} | changes)


def rows(rms_ratio: float = 0.95, rejection_rate: float = 0.1) -> list[Row]:
    steps = [
        {"kind": "step", "step": step, "loss": 9.0 - step, **{"rms_ratio": 1.0, "grad_norm": 2.0}}
        for step in range(1, 9)
    ]
    metrics = {"tp_si_sdr": 1.0, "tp_si_sdri": 3.21, "rms_ratio": rms_ratio, "ta_energy_db": -40.0}
    metrics |= {"ta_suppression_db": 20.0, "val_loss": 0.1, "rejection_rate": rejection_rate, "confusion_rate": 0.2}
    validations = [{"kind": "exam", "step": step, "metrics": metrics, "train": {"tp_si_sdri": 5.55}} for step in (4, 8)]
    return [Row.model_validate(row) for row in [*steps, *validations]]


def printed(view: View, width: int = 80, height: int = 24, *, color: bool = False) -> str:
    written = io.StringIO()
    console = Console(
        width=width, height=height, file=written, force_terminal=color, color_system="standard" if color else None
    )
    console.print(view)
    return written.getvalue()


def view(heartbeat: Heartbeat | None, logged: list[Row], state: str = "training") -> View:
    return View("demo", load_config(TINY, BOUNDS), state, heartbeat, logged)


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40)])
def test_it_shows_everything_and_fits(width: int, height: int) -> None:
    text = printed(view(beat(), rows()), width, height)
    lines = text.splitlines()
    assert max(map(len, lines)) <= width and len(lines) < height
    for part in ("demo", "10 min left", "4/4", "done", "4/8", "1.500", "1.25 neg_si_sdr + 0.25 absent", "3.21", "5.55"):
        assert part in text, part
    for part in ("0.95", ">= 0.5", "10 %", "<= 0.3", "-35.0", "65.4", "25 % waiting", "3.2 GB", "█▇▆▅▄▃▂▁"):
        assert part in text, part
    assert ("confused" in text) == ("process 77 on node7" in text) == (width == 120)


def test_a_bar_says_how_long_it_is_to_the_end_of_its_phase_or_to_stop_at() -> None:
    early = view(beat(step=2, stop_at=8, remaining_seconds=600.0), rows()[:2])
    tp, tp_ta = printed(early).splitlines()[1:3]
    assert "2/4" in tp and "in 3 min" in tp
    assert "in 10 min" in tp_ta and "10 min left to --stop-at 8" in printed(early)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"activity": "validating", "num_validated": 5}, "validating, 5/12 scenes"),
        ({"activity": "starting", "means": {}}, "loading the first scenes"),
    ],
)
def test_it_says_what_the_training_does(changes: dict[str, Any], said: str) -> None:
    assert said in printed(view(beat(**changes), rows()))


def test_it_says_for_how_long_nothing_was_heard_of_a_training() -> None:
    assert "no sign of life for 1" in printed(view(beat(time=time.time() - 10 * STALE_SECONDS), rows()))


def test_a_run_that_ended_says_how_and_has_no_time_left() -> None:
    text = printed(view(None, rows(), "stopped by level_low"))
    assert "stopped by level_low" in text and "left" not in text and " in " not in text


def test_values_have_the_colour_of_their_bounds() -> None:
    healthy, unhealthy = (printed(view(beat(), rows(*found)), color=True) for found in ((0.95, 0.1), (0.4, 0.5)))
    assert all(re.search(rf"\x1b\[32m *{value}\x1b", healthy) for value in ("0.95", "10 %"))
    assert all(re.search(rf"\x1b\[31m *{value}\x1b", unhealthy) for value in ("0.40", "50 %"))


def test_a_curve_has_the_width_that_there_is() -> None:
    assert sparkline([1, 2, 3, 4, 5, 6, 7, 8], 20) == "▁▂▃▄▅▆▇█"
    assert sparkline([float(i) for i in range(800)], 8) == "▁▂▃▄▅▆▇█"
    assert sparkline([0.0, float("nan"), 1.0], 3) == "▁ █"
    assert sparkline([2.0, 2.0], 5) == "▄▄"
    assert sparkline([], 5) == sparkline([float("nan")], 5) == ""
