"""Sweeps: trials are runs, several processes share them, whatever ends one of those, and the gate has its say."""

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial

from hifitse.evaluation.result import read_result
from hifitse.metrics import METRICS
from hifitse.runs.records import exact_metrics, read_events, read_origin
from hifitse.runs.run import Run
from hifitse.sweeping.space import Space
from hifitse.sweeping.sweep import Sweep
from tests.helpers import TINY, Cli
from tests.processes import children, descendants, is_alive, wait_for

RATES = {"train.learning_rate": {"low": 3e-4, "high": 3e-2, "log": True}}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def write_space(name: str = "space.yaml", start: dict[str, str] | None = None, **settings: Any) -> Path:
    path = Path(name)
    path.write_text(yaml.safe_dump({**(start or {"config": str(TINY)}), "space": settings}))
    return path


def arguments(space: Path, num_trials: int, *more: object) -> list[str]:
    return ["sweep", str(space), "--metric", "tp_si_sdri", "--trials", str(num_trials), *map(str, more)]


@contextlib.contextmanager
def sweeping(*words: str) -> Iterator[subprocess.Popen[str]]:
    """A process of a sweep, which does not outlive the test."""
    command = [sys.executable, "-m", "hifitse", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            for found in (process.pid, *descendants(process.pid)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(found, signal.SIGKILL)


def trained_by(process: subprocess.Popen[str], sweep: Sweep) -> Run | None:
    """Return the run that a process of a sweep trains, once that has begun."""
    for child in children(process.pid):
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{child}/cmdline").read_text().split("\0")
            if "--run" in words and (run := Run(Path(words[words.index("--run") + 1]))).exists():
                return run if run.is_locked() else None
    return None


def test_two_processes_share_a_sweep_one_is_killed_and_the_best_trial_is_trained_again(cli: Cli) -> None:
    # As long as to be met in the middle.
    long = {"train.total_steps": 40, "train.validate_every": 20, "train.checkpoint_every": 5}
    space = write_space(**RATES, **{"loss.ta_weight": [0.02, 0.05, 0.1]}, **long)
    sweep, words = Sweep(Path("runs/space")), arguments(space, 6, "--json")
    with sweeping(*words) as victim, sweeping(*words) as survivor:
        # Late, for what is left then is trained by one process alone.
        assert wait_for(lambda: sweep.run(3).exists() and trained_by(victim, sweep), 600)
        left, below = trained_by(victim, sweep), descendants(victim.pid)
        victim.kill()
        out, err = survivor.communicate()
        assert survivor.returncode == 0, err
        assert not any(map(is_alive, below)), "its training has not outlived it"
    found = json.loads(out)
    assert sorted(trial["number"] for trial in found["trials"]) == list(range(6))
    assert {trial["state"] for trial in found["trials"]} <= {"complete", "pruned"}
    assert left and f"trial {int(left.name[-3:])}: goes on" in err
    assert "interrupted" in [event.kind for event in read_events(left)], "it was ended in order, and resumed"
    assert err.count("tp_si_sdri ") >= 3, "a line for each trial, the victim reported its own"

    values = [trial["value"] for trial in found["trials"] if trial["state"] == "complete"]
    assert values == sorted(values, reverse=True) and found["best"] == found["trials"][0]
    assert found["importance"].keys() == {"train.learning_rate", "loss.ta_weight"}

    best, again = found["best"], Run(Path("runs/again"))
    command = shlex.split(best["command"])
    assert command[:4] == ["hifitse", "train", "--run", best["run"]]
    assert cli("train", "--run", again.path, *command[4:]).code == 0
    assert exact_metrics(again) == exact_metrics(Run(Path(best["run"])))
    assert read_result(again, best["step"]).metrics["tp_si_sdri"] == best["value"]


def test_ctrl_c_saves_the_trial_and_the_same_command_goes_on(cli: Cli) -> None:
    space = write_space(**RATES, **{"train.total_steps": 60, "train.validate_every": 60})
    words, sweep = arguments(space, 1), Sweep(Path("runs/space"))
    with sweeping(*words) as process:
        assert wait_for(lambda: trained_by(process, sweep), 300)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
        assert process.returncode == 130
    run = sweep.run(0)
    assert err.splitlines()[-1] == f"interrupted; go on with: hifitse {shlex.join(words)}"
    assert read_events(run)[-1].kind == "interrupted" and not run.is_locked()
    outcome = cli(*words)
    assert outcome.code == 0 and "trial 0: goes on" in outcome.err
    assert [event.kind for event in read_events(run)] == ["started", "interrupted", "resumed", "finished"]


def test_guards_end_a_trial_and_the_gate_refuses_one(cli: Cli) -> None:
    guard = {"health.guards.level_low.below": 90, "health.guards.level_low.patience": 1}
    outcome = cli(*arguments(write_space("guard.yaml", **guard), 1, "--json"))
    assert outcome.code == 1 and "no trial has a checkpoint that selection accepts" in outcome.err
    found = json.loads(outcome.out)
    (trial,) = found["trials"]
    assert (trial["state"], trial["step"], trial["reason"]) == ("pruned", 4, "level_low")
    assert found["best"] is None and read_events(Run(Path(trial["run"])))[-1].kind == "stopped"

    outcome = cli(*arguments(write_space("gate.yaml", **{"selection.require": [["rms_ratio>=90"]]}), 1))
    assert outcome.code == 1 and "trial 0: infeasible: rms_ratio" in outcome.err
    (refused,) = Sweep(Path("runs/gate")).study().trials
    assert refused.state is TrialState.COMPLETE and refused.constraints == {"gate": 1.0}


def test_a_trial_that_cannot_win_is_ended_at_a_validation(cli: Cli) -> None:
    endless = {"train.total_steps": 90000, "train.validate_every": 4}
    space = write_space(**RATES, **endless)
    sweep = Sweep(Path("runs/space"))
    sweep.join(Space.read(space), METRICS["tp_si_sdri"])
    reached = {"params": {"train.learning_rate": 1e-3}, "intermediate_values": {4: 50.0}, "value": 50.0}
    rates = {"train.learning_rate": FloatDistribution(3e-4, 3e-2, log=True)}
    for _ in range(5):
        sweep.study().add_trial(create_trial(state=TrialState.COMPLETE, distributions=rates, **reached))
    outcome = cli(*arguments(space, 6))
    assert outcome.code == 0 and "pruned at step 4: behind the median, tp_si_sdri" in outcome.err
    assert sweep.study().trials[5].state is TrialState.PRUNED
    assert read_events(sweep.run(5))[-1].kind == "interrupted"


def test_a_failing_trial_ends_no_sweep_and_says_why(cli: Cli) -> None:
    space = write_space(**{"data.speech": [["/nowhere"]]})
    outcome = cli(*arguments(space, 2, "--json"))
    assert outcome.code == 1 and "/nowhere" in outcome.err.splitlines()[-1]
    trials = json.loads(outcome.out)["trials"]
    assert [trial["state"] for trial in trials] == ["failed", "failed"]
    assert all("/nowhere" in trial["reason"] for trial in trials)


def test_trials_may_be_forks_and_are_judged_by_what_they_add(cli: Cli, trained: Path) -> None:
    space = write_space(start={"from": f"{trained}@8"}, **{"loss.ta_weight": 0.3})
    outcome = cli(*arguments(space, 1, "--json"))
    assert outcome.code == 0, outcome.err
    best = json.loads(outcome.out)["best"]
    origin = read_origin(Run(Path(best["run"])))
    assert origin and origin.step == 8 and best["step"] == 12
    assert best["command"].startswith(f"hifitse resume --run {trained} --from 8 --as {best['run']} --config ")
    forbidden = write_space("other.yaml", start={"from": f"{trained}@8"}, **{"model.feature_dim": [8, 16]})
    outcome = cli(*arguments(forbidden, 1))
    assert outcome.code == 2 and "a trained network cannot change" in outcome.err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "expected 'space:'"),
        ("config: tiny\nspaces: {}\nspace: {seed: [1]}", "space.yaml:2: spaces: unknown key; did you mean 'space'?"),
        ("space: {seed: [1]}", "give either config (a configuration) or from"),
        ("config: nothing\nspace: {seed: [1]}", "nothing: no such configuration"),
        ("from: demo\nspace: {seed: [1]}", "expected RUN@STEP"),
        ("config: demo\nspace:\n  loss.ta_weigth: [0.1, 0.2]", "space.yaml:3: --set loss.ta_weigth=0.1: unknown key"),
        ("config: demo\nspace:\n  loss.ta_weight: {low: 0.1, high: 7}", "space.yaml:3: --set loss.ta_weight=7"),
        ("config: demo\nspace:\n  seed: {low: 3, high: 2}", "space.yaml:3: seed: high: must be above low"),
        ("config: demo\nspace:\n  seed: {low: 0, high: 2, log: true}", "space.yaml:3: seed: low: must be above 0"),
        ("config: demo\nspace:\n  seed: {low: x, high: 2}", "space.yaml:3: seed: low: expected"),
        ("config: demo\nspace:\n  seed: {low: 1, step: 2, high: 2}", "space.yaml:3: seed: step: unknown key"),
        ("config: demo\nspace:\n  seed: []", "space.yaml:3: seed: expected a list of values"),
    ],
)
def test_a_space_that_cannot_work_is_refused_at_once(cli: Cli, content: str, said: str) -> None:
    Path("space.yaml").write_text(content)
    outcome = cli(*arguments(Path("space.yaml"), 1))
    assert outcome.code == 2 and said in outcome.err and len(outcome.err.splitlines()) == 1
    assert not Path("runs").exists()


def test_what_else_cannot_work_is_refused_with_a_remedy(
    cli: Cli, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = write_space(**{"loss.ta_weight": [0.1]})
    for metric, said in (("tp_pesq_wb", "not measured"), ("val_loss", "loss.*"), ("sdr", "unknown metric")):
        outcome = cli("sweep", space, "--metric", metric, "--trials", 1)
        assert outcome.code == 2 and said in outcome.err
    outcome = cli(*arguments(space, 1, "--run", trained))
    assert outcome.code == 2 and "this is a run" in outcome.err
    Sweep(Path("runs/space")).join(Space.read(space), METRICS["tp_si_sdr"])
    outcome = cli(*arguments(space, 1))
    assert outcome.code == 2 and "its metric is tp_si_sdr" in outcome.err and "--run" in outcome.err
    write_space(**{"loss.ta_weight": [0.2]})
    outcome = cli("sweep", space, "--metric", "tp_si_sdr", "--trials", 1)
    assert outcome.code == 2 and "'space' differs" in outcome.err
    monkeypatch.setattr("hifitse.commands.sweep.find_spec", lambda name: None)
    outcome = cli(*arguments(space, 1))
    assert outcome.code == 2 and "pip install 'hifitse[sweep]'" in outcome.err
