"""All causes that are known, and which of them the evidence speaks for."""

from collections.abc import Callable, Sequence

from hifitse.evaluation.diagnosis.data import below_rate, clipped_recordings, silent_crops
from hifitse.evaluation.diagnosis.evidence import Evidence, Finding
from hifitse.evaluation.diagnosis.generalisation import extracts_wrong_voices, overfits, rejects_unseen_voices
from hifitse.evaluation.diagnosis.objective import level_not_held, pays_for_silence
from hifitse.evaluation.diagnosis.schedule import learning_rate_after_change

RULES: tuple[Callable[[Evidence], Finding | None], ...] = (
    pays_for_silence,
    level_not_held,
    silent_crops,
    clipped_recordings,
    below_rate,
    learning_rate_after_change,
    rejects_unseen_voices,
    extracts_wrong_voices,
    overfits,
)
"""What is wrong before a voice is heard comes first."""


def diagnose(evidence: Evidence) -> list[Finding]:
    """Return the causes that the evidence speaks for; of a healthy run, none."""
    return [finding for rule in RULES if (finding := rule(evidence))]


def in_full(findings: Sequence[Finding]) -> list[str]:
    """Return the causes in lines, each with its evidence and its remedies."""
    if not findings:
        return ["no cause found: nothing that a rule knows is wrong"]
    return [
        line
        for number, finding in enumerate(findings, start=1)
        for line in (
            f"{number}. {finding.title} [{finding.cause}]",
            *(f"   - {evidence}" for evidence in finding.evidence),
            *(f"   remedy: {remedy}" for remedy in finding.remedies),
        )
    ]


def in_short(findings: Sequence[Finding], run: str) -> str:
    """Return the causes in a sentence or two, for a run of that name."""
    if not findings:
        return ""
    causes = "; ".join(f"{finding.title} ({finding.evidence[0]})" for finding in findings)
    return f"Likely cause: {causes}. Remedies: hifitse diagnose {run}. "
