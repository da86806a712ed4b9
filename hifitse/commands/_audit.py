"""The audit of the objective at the start of train, resume and smoke."""

from rich.console import Console
from rich.markup import escape

from hifitse.checks.audit import Audit, audit
from hifitse.checks.audit_outputs import audit_scenes
from hifitse.commands._tables import new_table
from hifitse.console import info, warn
from hifitse.errors import StoppedError
from hifitse.training.step import TrainingSession

_MARKS = {"pass": "[green]PASS[/]", "note": "[dim]note[/]", "warn": "[yellow]WARN[/]", "fail": "[bold red]FAIL[/]"}


def audit_objective(session: TrainingSession) -> Audit:
    """Measure what the configured objective pays for; takes as long as a few training scenes."""
    info("auditing the objective on a few scenes")
    return audit(session.experiment.objective, session.state.model, audit_scenes(session.experiment))


def require_sound_objective(session: TrainingSession, allow_unsafe: bool) -> None:
    """Audit the objective and say what is wrong with it.

    Raises:
        StoppedError: it fails, and that was not allowed.
    """
    found = audit_objective(session)
    info(f"audit of the objective: {found.verdict}")
    for finding in found.findings:
        if finding.level in ("warn", "fail"):
            warn(f"{finding.topic}: {finding.message}")
    if found.verdict == "fail" and not allow_unsafe:
        raise StoppedError(
            "not started: the objective pays for what nobody wants; change the loss section, "
            "or add --allow-unsafe-objective to reproduce the failure"
        )


def audit_table(found: Audit, console: Console) -> None:
    """Print all findings."""
    table = new_table("", "the objective", "finding")
    for finding in found.findings:
        table.add_row(_MARKS[finding.level], finding.topic, escape(finding.message))
    console.print(table)
