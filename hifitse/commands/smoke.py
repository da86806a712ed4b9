"""hifitse smoke: a short real training on a scratch copy, with checks."""

from typing import TYPE_CHECKING, Annotated

import typer

from hifitse.commands import _complete
from hifitse.commands._help import command, new_app
from hifitse.commands._options import ConfigOption, DeviceOption, JsonOption, ResetOption, RunOption, SetOption
from hifitse.commands._setup import build_experiment, load_from, resolve
from hifitse.console import cell, out, print_json
from hifitse.errors import StoppedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hifitse.checks.audit_questions import Finding
    from hifitse.checks.smoke import Check

app = new_app()

_MARKS = {"pass": "[green]PASS[/]", "note": "[dim]note[/]", "warn": "[yellow]WARN[/]", "fail": "[bold red]FAIL[/]"}


@command(app, "hifitse smoke --steps 100 --config configs/demo.yaml", "hifitse smoke --run demo --from best")
def smoke(
    steps: Annotated[
        int,
        typer.Option("--steps", min=1, max=100_000, metavar="N", help="Steps to train, over all phases to come."),
    ] = 100,
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="CHECKPOINT",
            help="Start from this one: a step, last, best, or a file (default: fresh weights).",
            autocompletion=_complete.checkpoints,
        ),
    ] = None,
    reset_optimizer: ResetOption = False,
    config: ConfigOption = None,
    run: RunOption = None,
    overrides: SetOption = None,
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """Check a configuration, or a resume, in a few steps before GPU weeks are spent on it.

    Changes no run.
    """
    settings, target = resolve(config, run, overrides)
    checkpoint = load_from(target, source) if source is not None else None
    from hifitse.checkpoint.weights import require_no_average
    from hifitse.checks.audit import audit_session
    from hifitse.checks.smoke import audit_check, smoke, smoke_config
    from hifitse.commands._smoke_progress import SmokeProgress
    from hifitse.report.live.lines import announce
    from hifitse.training.step import TrainingSession

    if checkpoint:
        require_no_average(checkpoint, str(source))
    first_step = checkpoint.header.step if checkpoint else 0
    experiment = build_experiment(smoke_config(settings, first_step, steps), device)
    if checkpoint:
        session = TrainingSession.resumed(experiment, checkpoint, reset_optimizer=reset_optimizer)
    else:
        session = TrainingSession.fresh(experiment)
    audit = audit_session(session)
    if not json:
        _show_findings(audit.findings)
    announce(session, first_step + steps)
    checks = [audit_check(audit), *smoke(session, steps, SmokeProgress(first_step + steps, settings.train.compile))]
    passed = all(check.passed for check in checks)
    if json:
        findings = [finding.to_json() for finding in audit.findings]
        print_json({"passed": passed, "checks": [check.to_json() for check in checks], "audit": findings})
    else:
        _show_checks(checks)
    if not passed:
        raise StoppedError("the smoke test failed; see the checks above")


def _show_findings(findings: "Sequence[Finding]") -> None:
    from hifitse.commands._tables import new_table

    table = new_table("", "the objective", "finding")
    for finding in findings:
        table.add_row(_MARKS[finding.level], finding.topic, cell(finding.message))
    out.print(table)
    out.print()


def _show_checks(checks: "Sequence[Check]") -> None:
    from hifitse.commands._tables import new_table

    table = new_table("", "check", "value", "limit", "detail")
    for check in checks:
        mark = _MARKS["pass" if check.passed else "fail"]
        table.add_row(mark, check.name, _short(check.value), _short(check.limit), cell(check.detail))
    out.print(table)


def _short(value: float | str) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
