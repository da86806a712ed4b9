"""The page about a sweep: its best trials as runs, and what each setting is worth."""

import shutil
from pathlib import Path

import pytest

from hifitse.metrics import METRICS
from hifitse.sweeping.outcome import Outcome
from hifitse.sweeping.space import Space
from hifitse.sweeping.sweep import Sweep
from hifitse.sweeping.trial import Trial
from tests.helpers import TINY, Cli
from tests.report.browser import CHROMIUM, DRIVER, browser, look

SPACE = f"""
config: {TINY}
space:
  loss.ta_weight: [0.02, 0.1]
  train.learning_rate: {{low: 1.0e-4, high: 1.0e-2, log: true}}
  train.total_steps: 12
"""
OTHERS = (
    Outcome("pruned", "behind the median", 0.5, 4),
    Outcome("pruned", "level_low", step=8),
    Outcome("infeasible", "rms_ratio 0.050 is below 0.1"),
    Outcome("failed", "out of memory"),
)


@pytest.fixture
def sweep(trained: Path, tmp_path: Path) -> Sweep:
    """A sweep of twelve trials, of which eight are complete: the learning rate decides, the weight does not matter."""
    file = tmp_path / "space.yaml"
    file.write_text(SPACE)
    found, space, metric = Sweep(tmp_path / "swept"), Space.read(file), METRICS["tp_si_sdri"]
    found.join(space, metric)
    study = found.study()
    for number in range(12):
        study.enqueue_trial({"loss.ta_weight": (0.02, 0.1)[number % 2], "train.learning_rate": 1e-3 * 1.2**-number})
        trial = Trial(found, study, study.ask(), space, metric, "auto")
        complete = Outcome("complete", value=8.0 - number // 2, step=12)
        (complete if number < 8 else OTHERS[number - 8]).tell(study, trial.trial, metric)
        if number < 11:
            shutil.copytree(trained, trial.run.path)
    return found


@pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs the Debian packages chromium and chromium-driver")
def test_it_shows_the_best_trials_and_which_settings_mattered(cli: Cli, sweep: Sweep, tmp_path: Path) -> None:
    outcome = cli("report", sweep.path, "--figures", tmp_path / "figures")
    assert outcome.code == 0, outcome.err
    page = sweep.path / "report.html"
    text = page.read_text()
    assert "8 complete, 1 failed, 1 infeasible, 2 pruned" in text and "The best 6 trials" in text
    assert "trial_000 with 8.00 dB" in text and f"--run {sweep.run(0).path} " in text
    assert "infeasible: rms_ratio 0.050 is below 0.1" in text and "failed: out of memory" in text
    assert 'aria-label="estimate, ' in text and "trial_005</h2>" in text and "trial_006</h2>" not in text
    order = [text.index(f'<figure id="{name}"') for name in ("importance", "setting_train.learning_rate")]
    assert order == sorted(order) and order[1] < text.index('<figure id="setting_loss.ta_weight"')
    assert "train.total_steps</b>" not in text, "it is the same in all"
    assert (tmp_path / "figures" / "importance.png").stat().st_size > 1000
    with browser() as driver:
        for width in (390, 1440):
            seen = {scheme: look(driver, page, width, scheme) for scheme in ("light", "dark")}
            assert all(state["log"] == [] and state["width"] == width for state in seen.values())
            assert seen["light"]["background"] != seen["dark"]["background"]


def test_a_sweep_has_a_page_of_its_own(cli: Cli, sweep: Sweep, trained: Path) -> None:
    outcome = cli("report", sweep.path, trained)
    assert outcome.code == 2 and "name it alone, or name runs of it" in outcome.err
    for number in range(11):
        shutil.rmtree(sweep.run(number).path)
    outcome = cli("report", sweep.path)
    assert outcome.code == 2 and "no trial of this sweep has a checkpoint yet" in outcome.err
