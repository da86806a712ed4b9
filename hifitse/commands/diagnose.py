"""hifitse diagnose: name what goes wrong in a run, from evidence."""

from typing import TYPE_CHECKING, Annotated

import typer

from hifitse.commands import _complete
from hifitse.commands._help import command, new_app
from hifitse.commands._options import JsonOption
from hifitse.commands._setup import progress_bar, resolve
from hifitse.console import info, print_json, print_line
from hifitse.errors import HifitseError, UsageError

if TYPE_CHECKING:
    from hifitse.config.schema import Config
    from hifitse.corpus.corpus import Corpus

app = new_app()


@command(app, "hifitse diagnose demo", "hifitse diagnose runs/demo --json")
def diagnose(
    run: Annotated[
        str,
        typer.Argument(metavar="RUN", help="Name under runs/, or a path.", autocompletion=_complete.runs),
    ],
    json: JsonOption = False,
) -> None:
    """Say why a run goes wrong: the causes that its records speak for, and the remedies.

    It reads the validations, the log and the events of the run, and listens to its corpora where they are here.
    """
    settings, target = resolve(None, run, None)
    target.require()
    from hifitse.evaluation.diagnosis.causes import diagnose, in_full
    from hifitse.evaluation.diagnosis.evidence import gather

    evidence = gather(target, settings, _corpus(settings))
    if evidence is None:
        raise UsageError(
            f"{target.path}: no checkpoint of this run was validated yet; run hifitse validate --run {target.argument}"
        )
    findings, newest = diagnose(evidence), evidence.newest.step
    if json:
        print_json(
            {
                "run": target.name,
                "step": newest,
                "data_examined": evidence.corpus is not None,
                "findings": [finding.to_json() for finding in findings],
            }
        )
        return
    print_line(f"{target.path}: step {newest}, {len(evidence.results)} validations (this set also selects)")
    for line in in_full(findings):
        print_line(line)
    if words := evidence.newest.about_new_voices:
        print_line(words)


def _corpus(config: "Config") -> "Corpus | None":
    """Return the corpora of the run, if they can be read here."""
    from hifitse.corpus.corpus import load_corpus

    try:
        with progress_bar() as progress:
            return load_corpus(config, progress)
    except HifitseError as error:
        info(f"note: the corpora are not examined: {error}")
        return None
