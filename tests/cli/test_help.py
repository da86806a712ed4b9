"""What people read before they type: help, completion, errors; and how fast it comes."""

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from hifitse.commands import _app as command_line
from tests.helpers import Cli

HEAVY = "{'torch', 'numpy', 'scipy', 'safetensors', 'tensorboard', 'matplotlib', 'soundfile'}"


def commands() -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for name in command_line.COMMANDS:
        inside = getattr(command_line.load_command(name), "commands", {})
        found += [(name, part) for part in inside] or [(name,)]
    return found


def test_the_first_lines_of_help_are_those_of_the_commands() -> None:
    for name, line in command_line.COMMANDS.items():
        assert inspect.cleandoc(command_line.load_command(name).help).splitlines()[0].startswith(line.rstrip(".")), name


@pytest.mark.parametrize("path", commands(), ids=" ".join)
def test_every_help_ends_with_examples_that_parse_and_has_no_type_for_flags(
    cli: Cli, path: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    outcome = cli(*path, "--help")
    assert outcome.code == 0 and "<bool>" not in outcome.out
    _, _, examples = outcome.out.partition("Examples")
    lines = [line.strip() for line in examples.splitlines() if line.strip()]
    assert 1 <= len(lines) <= 2
    group = typer.main.get_command(command_line.app)
    for line in lines:
        words = line.replace("'", "").replace(" > hifitse.schema.json", "").split()
        assert words[: 1 + len(path)] == ["hifitse", *path] or path[-1] == "list"
        with group.make_context("hifitse", words[1:], resilient_parsing=True) as ctx:
            name, command, rest = group.resolve_command(ctx, words[1:])
            options = {option for param in command.params for option in param.opts}
            inside = getattr(command, "commands", {}).get(rest[0] if rest else "")
            options |= {option for param in (inside.params if inside else ()) for option in param.opts}
            used = {word for word in rest if word.startswith("-")}
            assert used <= options, line


def test_help_and_the_list_of_runs_load_nothing_heavy(tmp_path: Path) -> None:
    for arguments in (["--help"], ["runs"], ["train", "--help"], ["config", "show", "--config", "demo"]):
        code = (
            f"import sys; sys.argv = ['hifitse', *{arguments!r}]\nfrom hifitse.cli import main\n"
            f"try: main()\nexcept SystemExit: pass\nprint('LOADED', sorted({HEAVY} & set(sys.modules)))"
        )
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == "LOADED []", arguments


def test_the_shell_completes_runs_checkpoints_metrics_and_settings(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/demo").symlink_to(trained)

    def complete(line: str) -> set[str]:
        words = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1), "_HIFITSE_COMPLETE": "complete_bash"}
        command = [str(Path(sys.executable).with_name("hifitse"))]
        done = subprocess.run(command, cwd=tmp_path, env={**os.environ, **words}, capture_output=True, text=True)
        return set(done.stdout.split())

    assert complete("hifitse validate --run d") == {"demo"}
    assert complete("hifitse validate --run demo --from 1") == {"10", "12"}
    assert complete("hifitse resume --run demo --from b") == {"best"}
    assert complete("hifitse select-best --metric tp_") == {"tp_si_sdr", "tp_si_sdri"}
    assert complete("hifitse train --set loss.ta") == {"loss.ta_weight="}
    assert {"train", "validate"} <= complete("hifitse ")


def test_an_error_is_json_where_json_was_asked_for(cli: Cli, tmp_path: Path) -> None:
    outcome = cli("validate", "--run", tmp_path / "none", "--json")
    said = json.loads(outcome.out)
    assert said["exit_code"] == outcome.code == 2
    assert said["error"] in outcome.err and outcome.err.startswith("error: ")


def test_a_missing_run_names_those_that_exist(
    cli: Cli, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert f"there are no runs in {tmp_path}/runs" in cli("validate", "--run", "demo").err
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/first").symlink_to(trained)
    for command in ("validate", "resume", "select-best", "runs restore 01", "export -o m.safetensors"):
        outcome = cli(*command.split(), "--run", "demo")
        assert outcome.code == 2
        assert f"runs/demo: no such run in {tmp_path}; runs here: first" in outcome.err, command
