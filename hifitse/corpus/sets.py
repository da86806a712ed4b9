"""Three sets: training, validation and test, from what their sections name, from official splits, or held out."""

from collections.abc import Mapping
from typing import Literal

from hifitse.audio.recording import Recording
from hifitse.config.schema import Config
from hifitse.corpus.grouping import SetName
from hifitse.corpus.people import People
from hifitse.corpus.sources import AllSources, Source, note
from hifitse.corpus.split import Speech, require_enough, split_files, split_speech

_Members = list[tuple[Source, str, list[Recording]]]
_HELD_OUT: tuple[SetName, ...] = ("validation", "test")


def speech_sets(config: Config, sources: AllSources, people: People, notes: list[str]) -> dict[SetName, Speech]:
    """Return the speakers of each set, sorted by name, each with at least two recordings; there may be no test.

    What validation and test name is their own. Else they have what an official split gives them. Else they are held out
    of the training set: the validation always, the test if the configuration has that section.

    Raises:
        ConfigError: a set has too few speakers, or a speaker is in two of them.
    """
    interferers = most_interferers(config)
    members = _members(sources, notes)
    people.require_disjoint({name: [pair[:2] for pair in found] for name, found in members.items()})
    sets = {name: _merged(found, name, people, notes) for name, found in members.items() if found}
    held_out = [name for name in _HELD_OUT if name not in sets and (name == "validation" or config.test is not None)]
    for name in _HELD_OUT:
        if name in sets:
            require_enough(sets[name], f"{name}.speech", interferers)
    return sets | split_speech(sets.get("train", {}), held_out, config.data, interferers, notes)


def file_sets(
    config: Config,
    sources: AllSources,
    kind: Literal["noise", "rir"],
    groups: Mapping[Recording, str],
    notes: list[str],
) -> dict[SetName, tuple[Recording, ...]]:
    """Return the noises or impulse responses of each set, sorted by name.

    A test that has none of its own has those of the validation: the training does not hear them either.

    Args:
        groups: each recording's session or room.
    """
    sets: dict[SetName, list[Recording]] = {name: [] for name in ("train", *_HELD_OUT)}
    for source in getattr(sources, kind):
        for recording in source.recordings:
            if name := source.set_of(recording):
                sets[name].append(recording)
    for name in _HELD_OUT:
        if own := getattr(getattr(sources, name), kind):
            sets[name] = [recording for source in own for recording in source.recordings]
    train, validation, test = (tuple(sorted(found, key=lambda recording: recording.name)) for found in sets.values())
    if not validation:
        train, validation = split_files(train, groups, kind, config.data.held_out_fraction, notes)
    return {"train": train, "validation": validation, "test": test or validation}


def most_interferers(config: Config) -> int:
    """Return the largest number of interferers that any phase can ask for."""
    return max((phase.num_interferers or config.mixing.num_interferers)[1] for phase in config.curriculum)


def _members(sources: AllSources, notes: list[str]) -> dict[SetName, _Members]:
    """Return what is given to each set, by its section or by an official split."""
    members: dict[SetName, _Members] = {name: [] for name in ("train", *_HELD_OUT)}
    for source in sources.speech:
        for name, recordings in source.speakers.items():
            for part, found in members.items():
                if here := [recording for recording in recordings if source.set_of(recording) == part]:
                    found.append((source, name, here))
    for part in _HELD_OUT:
        if own := getattr(sources, part).speech:
            note(notes, f"{part}.speech", "used instead of official speakers", [name for _, name, _ in members[part]])
            members[part] = [(source, *item) for source in own for item in source.speakers.items()]
    return members


def _merged(members: _Members, part: SetName, people: People, notes: list[str]) -> Speech:
    """Return person to recordings, sorted by name, of all that have at least two."""
    merged: Speech = {}
    for _, name, recordings in members:
        merged.setdefault(people.person(name), []).extend(recordings)
    few = sorted(name for name, recordings in merged.items() if len(recordings) < 2)
    key = f"{'data' if part == 'train' else part}.speech"
    note(notes, key, "speakers with a single recording left out (the reference must be another one)", few)
    return {name: merged[name] for name in sorted(merged) if len(merged[name]) >= 2}
