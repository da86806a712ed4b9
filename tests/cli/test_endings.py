"""However a command ends, it is in order: what is being saved is saved, nothing is left, one line says why."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hifitse.checkpoint.file import load_checkpoint
from hifitse.json_log import read_rows
from hifitse.runs.records import read_events, read_metrics
from hifitse.runs.run import Run
from tests.helpers import TINY, Cli
from tests.processes import descendants, endless_training, is_alive, marked, wait_for

HIFITSE = (sys.executable, "-m", "hifitse")
TRAIN = (*HIFITSE, "train", "--config", str(TINY))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "run")


def assert_saved(run: Run) -> None:
    step = read_metrics(run)[-1].step
    assert run.checkpoint_steps()[-1] == step and load_checkpoint(run.checkpoint_path(step)).header.step == step


# Killed from outside


def test_nothing_outlives_a_killed_training_not_even_loaders_that_are_stopped(run: Run) -> None:
    with endless_training(run, "data.num_workers=2") as process:
        below = descendants(process.pid)
        assert len(below) == 3
        os.kill(below[0], signal.SIGSTOP)
        os.kill(below[-1], signal.SIGSTOP)
        process.kill()
        assert wait_for(lambda: not any(map(is_alive, below)), 10)


def test_nothing_outlives_a_killed_launcher_and_its_ranks_save_what_they_have_done(run: Run) -> None:
    with endless_training(run, "data.num_workers=1", arguments=("--ranks", 2)) as process:
        below = descendants(process.pid)
        assert len(below) == 6
        process.kill()
        assert wait_for(lambda: not any(map(is_alive, below)), 10)
    assert_saved(run)


# Signals


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR2], ids=lambda number: number.name)
def test_what_terminals_and_batch_systems_send_ends_a_training_in_order(run: Run, number: signal.Signals) -> None:
    with endless_training(run) as process:
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "the state is saved" in said
    assert_saved(run)


def test_nohup_is_heeded(run: Run) -> None:
    def ignore() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    with endless_training(run, preexec_fn=ignore) as process:
        process.send_signal(signal.SIGHUP)
        before = len(read_metrics(run))
        assert wait_for(lambda: len(read_metrics(run)) > before + 3)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 143


SLOW_SAVES = """
import sys, time
import hifitse.checkpoint.file as file
verify = file.verify_checkpoint
def slowly(path):
    if "00000004" not in path.name:
        time.sleep(4)
    verify(path)
file.verify_checkpoint = slowly
from hifitse.cli import main
main()
"""


def test_further_signals_wait_for_what_the_first_is_saving(run: Run) -> None:
    with endless_training(run, python=("-c", SLOW_SAVES)) as process:
        assert wait_for(lambda: len(read_metrics(run)) > 5)
        process.send_signal(signal.SIGTERM)
        for pause, number in ((0.3, signal.SIGTERM), (1.2, signal.SIGTERM), (0.3, signal.SIGINT)):
            time.sleep(pause)
            process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "already ending: the state is saved first" in said and "the state is saved; go on with" in said
    assert_saved(run)


CTRL_C_IN_THE_IMPORT = "import os, signal, time\nos.kill(os.getpid(), signal.{name})\ntime.sleep(20)\n"


@pytest.mark.parametrize("module", ["typer", "torch"])
@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_while_modules_are_imported_is_one_line(tmp_path: Path, module: str, name: str, code: int) -> None:
    (tmp_path / f"{module}.py").write_text(CTRL_C_IN_THE_IMPORT.format(name=name))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    command = [*TRAIN, "--run", str(tmp_path / "run")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=15)
    assert (done.returncode, done.stderr) == (code, "interrupted\n")


# Streams that fail


@pytest.mark.parametrize("stream", ["a full disk", "a closed pipe", "nothing"])
def test_a_training_goes_on_in_silence_when_stderr_fails(run: Run, stream: str) -> None:
    command = [*TRAIN, "--run", str(run.path)]
    if stream == "nothing":
        done = subprocess.run(["bash", "-c", '"$@" 2>&- >&-', "-", *command])
    elif stream == "a full disk":
        with open("/dev/full", "w") as full:
            done = subprocess.run(command, stderr=full)
    else:
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run(command, stderr=writer)
        os.close(writer)
    assert done.returncode == 0
    assert run.checkpoint_steps()[-1] == 12 and len(read_metrics(run)) == 15
    assert read_events(run)[-1].kind == "finished"


def test_a_result_that_stdout_does_not_take_is_an_error_and_a_reader_that_has_enough_is_none(trained: Path) -> None:
    show = [*HIFITSE, "config", "show", "--run", str(trained)]
    with open("/dev/full", "w") as full:
        done = subprocess.run(show, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (1, "error: stdout: No space left on device\n")
    with subprocess.Popen(show, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stderr
        process.stdout.close()
        assert process.stderr.read() == ""


# What nobody expected


def test_an_internal_error_is_one_line_and_its_traceback_is_in_the_run(
    cli: Cli, trained: Path, cache_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyError("no such thing\nas this")

    monkeypatch.setattr("hifitse.commands._setup.build_experiment", fail)
    monkeypatch.setattr("hifitse.commands.validate.build_experiment", fail)
    outcome = cli("validate", "--run", trained)
    (file,) = trained.glob("traceback_*.txt")
    assert outcome.code == 1
    assert outcome.err == f"error: internal error: KeyError: 'no such thing\\nas this'; the traceback is in {file}\n"
    assert f"hifitse validate --run {trained}" in file.read_text() and "in fail" in file.read_text()
    monkeypatch.setattr("hifitse.commands.runs.find_runs", fail)
    assert cli("runs", trained).code == 1
    assert len(list((cache_home / "hifitse").glob("traceback_*.txt"))) == 1


@pytest.mark.parametrize("error", [EOFError("cut short"), OSError(5, "Input/output error"), MemoryError()], ids=repr)
def test_no_error_is_taken_for_something_else(
    cli: Cli, trained: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("hifitse.commands.validate.build_experiment", fail)
    outcome = cli("validate", "--run", trained)
    assert outcome.code == 1 and outcome.err.startswith("error: internal error: ")
    assert "the traceback is in" in outcome.err and outcome.err.count("\n") == 1


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE=2: in the environment"),
        ({"RANK": "3"}, "RANK=3: in the environment"),
        ({"RANK": "x"}, "RANK=x: in the environment"),
        ({"RANK": "2", "WORLD_SIZE": "2", "LOCAL_RANK": "2", "MASTER_ADDR": "a", "MASTER_PORT": "1"}, "RANK=2, WORLD"),
    ],
)
def test_the_environment_of_half_a_rank_is_named(
    cli: Cli, run: Run, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], said: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    outcome = cli("train", "--config", TINY, "--run", run.path)
    assert outcome.code == 2
    assert said in outcome.err and "to train in one process unset them" in outcome.err
    assert cli("config", "show", "--config", TINY).out


def test_a_user_without_a_name_or_a_home_is_told_what_to_set(
    cli: Cli, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 987654)
    for name in ("HOME", "XDG_CACHE_HOME", "LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    outcome = cli("train", "--config", TINY, "--run", run.path)
    assert outcome.code == 2
    assert "user 987654 has no home folder; set HOME or XDG_CACHE_HOME" in outcome.err
    monkeypatch.setenv("XDG_CACHE_HOME", str(run.path.parent))
    assert cli("train", "--config", TINY, "--run", run.path, "--stop-at", 1).code == 0


# The end of a run


def test_the_last_validation_is_judged_by_a_resume_where_a_kill_or_an_error_prevented_it(
    cli: Cli, trained: Path
) -> None:
    run = Run(trained)
    assert cli("resume", "--run", trained).code == 0, "a run that is finished is not judged again"
    assert [event.kind for event in read_events(run)].count("finished") == 1
    rows = run.events_path.read_text().splitlines(keepends=True)
    run.events_path.write_text("".join(rows[:-1]))
    guard = "health.guards=[{name: loud, metric: rms_ratio, above: 0.01, patience: 1, action: stop}]"
    outcome = cli("resume", "--run", trained, "--set", guard)
    assert outcome.code == 3 and "guard loud" in outcome.err
    assert cli("resume", "--run", trained, "--set", "health.guards=[]").code == 0
    assert read_rows(run.events_path)[-1]["kind"] == "finished"


def test_rows_that_a_kill_left_behind_the_last_checkpoint_make_no_branch(run: Run, cli: Cli) -> None:
    with endless_training(run) as process:
        assert wait_for(lambda: len(read_metrics(run)) > 6 and run.checkpoint_steps() == [4])
        process.kill()
    assert cli("resume", "--run", run.path, "--stop-at", 6).code == 0
    assert not (run.path / "abandoned").exists()
    assert [row.step for row in read_metrics(run)] == [1, 2, 3, 4, 5, 6]


# At any moment: make torture


@pytest.mark.torture
@pytest.mark.parametrize("arguments", [("data.num_workers=2",), ("data.num_workers=1", "--ranks", "2")], ids=str)
def test_nothing_is_left_of_trainings_killed_at_random_moments(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    rng = random.Random(len(arguments))
    for number in range(25):
        mark = f"HIFITSE_TEST={tmp_path}/{number}"
        environment = {**os.environ, "HIFITSE_TEST": f"{tmp_path}/{number}"}
        settings = ("train.total_steps=90000", "train.checkpoint_every=1", *arguments)
        command = [*TRAIN, "--run", str(tmp_path / f"run{number}"), "--set", settings[0], "--set", settings[1]]
        command += ["--set", *settings[2:]]
        with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
            time.sleep(rng.uniform(0, 12))
            process.kill()
        assert wait_for(lambda mark=mark: not marked(mark), 10), (number, marked(mark))


@pytest.mark.torture
def test_two_signals_at_any_distance_end_a_training_in_order(tmp_path: Path) -> None:
    rng = random.Random(0)
    for number in range(25):
        run = Run(tmp_path / f"run{number}")
        with endless_training(run, f"data.num_workers={number % 2}") as process:
            process.send_signal(signal.SIGTERM)
            time.sleep(rng.expovariate(1 / 0.5))
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=60)
        assert process.returncode == 143 and "the state is saved" in said, (number, said)
        assert_saved(run)


@pytest.mark.torture
def test_a_signal_at_any_moment_is_one_line(tmp_path: Path) -> None:
    rng = random.Random(0)
    for number in range(60):
        with subprocess.Popen(
            [*TRAIN, "--run", str(tmp_path / f"{number}")], stderr=subprocess.PIPE, text=True
        ) as process:
            # The interpreter itself starts within the first moments.
            time.sleep(rng.uniform(0.1, 5))
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=60)
        assert process.returncode in (130, 0) and "Traceback" not in said, (number, said)
        assert process.returncode == 0 or said.splitlines()[-1].startswith("interrupted"), (number, said)


@pytest.mark.torture
def test_several_validations_of_one_step_do_not_collide(trained: Path) -> None:
    Run(trained).validation_path(12).unlink()
    command = [*HIFITSE, "validate", "--run", str(trained), "--from", "12", "--json"]
    together = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(6)]
    said = [process.communicate(timeout=120) for process in together]
    assert [process.returncode for process in together] == [0] * 6, said
    assert len({out for out, _ in said}) == 1
