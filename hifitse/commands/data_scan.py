"""hifitse data scan: what is in the corpora, and what is wrong with them."""

from dataclasses import asdict

from hifitse.commands._options import ConfigOption, JsonOption, RunOption, SetOption, progress_bar, resolve
from hifitse.console import print_json, say
from hifitse.errors import ConfigError


def scan(
    config: ConfigOption = None, run: RunOption = None, overrides: SetOption = None, json: JsonOption = False
) -> None:
    """Count speakers, recordings and hours of each corpus and of both splits, and name broken files."""
    settings, _ = resolve(config, run, overrides)
    from hifitse.commands._tables import holdings_table, parts_table
    from hifitse.corpus import stats as inventory
    from hifitse.corpus.corpus import build_corpus
    from hifitse.corpus.sources import find_sources

    with progress_bar() as progress:
        sources = find_sources(settings.data, progress)
        rows, totals = inventory.holdings(settings, sources), inventory.totals(sources)
        try:
            corpus, problem = build_corpus(settings, sources, progress), None
        except ConfigError as error:
            corpus, problem = None, error
    parts = {} if corpus is None else inventory.parts(corpus)
    notes = sources.notes if corpus is None else corpus.notes
    if json:
        split = {name: asdict(part) for name, part in parts.items()}
        counted = {"corpora": [asdict(row) for row in rows], "total": [asdict(row) for row in totals]}
        print_json({**counted, "split": split, "notes": notes})
    else:
        holdings_table(rows, totals)
        if parts:
            parts_table(parts)
        for note in notes:
            say(f"note: {note}")
    if problem is not None:
        raise problem
