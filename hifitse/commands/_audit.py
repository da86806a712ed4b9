"""The audit of the objective at the start of train, resume and smoke."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hifitse.console import say, warn
from hifitse.errors import StoppedError

if TYPE_CHECKING:
    from torch import nn

    from hifitse.checks.audit import Audit
    from hifitse.experiment import Experiment

UnsafeOption = Annotated[
    bool, typer.Option("--allow-unsafe-objective", help="Train even though the audit of the objective fails.")
]

_MARKS = {"pass": "[green]PASS[/]", "note": "[dim]note[/]", "warn": "[yellow]WARN[/]", "fail": "[bold red]FAIL[/]"}


def audit_objective(experiment: "Experiment", model: "nn.Module") -> "Audit":
    """Measure what the configured objective pays for; takes as long as a few training scenes."""
    from hifitse.checks.audit import audit
    from hifitse.checks.audit_outputs import audit_scenes

    return audit(experiment.objective, model, audit_scenes(experiment))


def require_sound_objective(experiment: "Experiment", model: "nn.Module", allow_unsafe: bool) -> None:
    """Audit the objective and say what is wrong with it.

    Raises:
        StoppedError: it fails, and that was not allowed.
    """
    audit = audit_objective(experiment, model)
    say(f"audit of the objective: {audit.verdict}")
    for finding in audit.findings:
        if finding.level in ("warn", "fail"):
            warn(f"{finding.topic}: {finding.message}")
    if audit.verdict == "fail" and not allow_unsafe:
        raise StoppedError(
            "not started: the objective pays for what nobody wants; mend the loss section, "
            "or add --allow-unsafe-objective to reproduce the failure"
        )


def audit_table(audit: "Audit", console: Console) -> None:
    """Print all findings."""
    table = Table(box=None, pad_edge=False, header_style="bold", title_justify="left")
    for title in ("", "the objective", "finding"):
        table.add_column(title, overflow="fold")
    for finding in audit.findings:
        table.add_row(_MARKS[finding.level], finding.topic, escape(finding.message))
    console.print(table)
