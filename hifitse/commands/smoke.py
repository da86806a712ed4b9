"""hifitse smoke: a short real training on a scratch copy, with checks."""

from typing import Annotated

import typer
from rich.table import Table

from hifitse.commands._audit import audit_objective, audit_table
from hifitse.commands._options import (
    ConfigOption,
    DeviceOption,
    JsonOption,
    RunOption,
    SetOption,
    announce,
    build_experiment,
    load_checkpoint,
    resolve,
)
from hifitse.commands.resume import ResetOption
from hifitse.console import out, print_json, say
from hifitse.errors import StoppedError
from hifitse.schedule import is_due


def smoke(
    steps: Annotated[
        int, typer.Option("--steps", min=1, metavar="N", help="Steps to train, over all phases to come.")
    ] = 100,
    source: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="STEP|last|best|FILE", help="Start from this checkpoint (default: fresh weights)."
        ),
    ] = None,
    reset_optimizer: ResetOption = False,
    config: ConfigOption = None,
    run: RunOption = None,
    overrides: SetOption = None,
    device: DeviceOption = "auto",
    json: JsonOption = False,
) -> None:
    """Check a configuration (or a resume) in a few steps, before GPU weeks are spent on it. Changes no run."""
    settings, target = resolve(config, run, overrides)
    from hifitse.checks.smoke import audit_check, smoke, smoke_config
    from hifitse.training.state import from_checkpoint, new_state

    checkpoint = load_checkpoint(target, source) if source is not None else None
    first_step = checkpoint.header.step if checkpoint else 0
    experiment = build_experiment(smoke_config(settings, first_step, steps), device)
    if checkpoint:
        state = from_checkpoint(checkpoint, settings, experiment.device, reset_optimizer=reset_optimizer)
    else:
        state = new_state(settings, experiment.device)
    audit = audit_objective(experiment, state.model)
    announce(experiment, state, steps)
    checks = [audit_check(audit)]
    checks += smoke(
        state,
        experiment,
        steps,
        lambda r: say(f"step {r.step}  {r.phase}  loss {r.loss:.3f}") if is_due(r.step, 10) else None,
    )
    passed = all(check.passed for check in checks)
    if json:
        findings = [finding.to_json() for finding in audit.findings]
        print_json({"passed": passed, "checks": [check.to_json() for check in checks], "audit": findings})
    else:
        audit_table(audit, out)
        out.print()
        table = Table(box=None, pad_edge=False, header_style="bold")
        for title in ("", "check", "value", "limit", "detail"):
            table.add_column(title)
        for check in checks:
            verdict = "[green]PASS[/]" if check.passed else "[bold red]FAIL[/]"
            table.add_row(verdict, check.name, _short(check.value), _short(check.limit), check.detail)
        out.print(table)
    if not passed:
        raise StoppedError("the smoke test failed; see the checks above")


def _short(value: float | str) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
