"""What validation holds out: whole speakers where there are enough, else utterances of each speaker; whole recording
sessions of noise, and whole rooms.

Who is held out follows from a hash of the name, never from config.seed or from the order of files: every
seed validates on the same speakers, and a speaker that joins the corpus moves at most a few others.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from hifitse.audio.recording import Recording
from hifitse.errors import ConfigError
from hifitse.seeding import order_by_hash

_SPLIT_SEED = 0
# Below this, a held-out file is a larger loss for training than a shared one is for validation.
_FEWEST_FILES_TO_SPLIT = 20
_FEWEST_GROUPS_TO_SPLIT = 4

Speech = dict[str, list[Recording]]


@dataclass(frozen=True, slots=True)
class SpeechSplit:
    """Speaker to recordings, for training and for validation."""

    train: Speech
    held_out: Speech


def split_speech(
    speakers: Speech,
    how: Literal["auto", "speaker", "utterance"],
    fraction: float,
    most_interferers: int,
    notes: list[str],
) -> SpeechSplit:
    """Split by speaker or by utterance; `auto` prefers speakers.

    Args:
        speakers: each with at least 2 recordings.
        how: data.split.
        fraction: data.held_out_fraction.
        most_interferers: the most that a mixture can have; each split needs one speaker more.
        notes: a line is added for each thing left out or decided.

    Raises:
        ConfigError: there are too few speakers, or too few recordings of each.
    """
    needed = 1 + most_interferers
    if len(speakers) < needed:
        raise ConfigError(
            f"data.speech: mixtures with up to {most_interferers} interferers need {needed} speakers with 2 "
            f"recordings each, found {len(speakers)}{_named(speakers)}; lower mixing.num_interferers "
            "or add speakers (one folder for each, directly under the root)"
        )
    num_held_out = max(needed, round(fraction * len(speakers)))
    if how != "utterance" and len(speakers) - num_held_out >= needed:
        return _by_speaker(speakers, num_held_out)
    if how == "speaker":
        raise ConfigError(
            f"data.split: speaker: holding out {num_held_out} of {len(speakers)} speakers leaves "
            f"{len(speakers) - num_held_out} for training, and {needed} are needed; use auto or utterance, "
            "lower mixing.num_interferers, or add speakers"
        )
    if how == "auto":
        notes.append(
            f"data.split: {len(speakers)} speakers are too few to hold some out ({2 * needed} are needed), so "
            "utterances of every speaker are held out; the validation is on known speakers"
        )
    return _by_utterance(speakers, fraction, needed, most_interferers, notes)


def split_files(
    files: Sequence[Recording], groups: Mapping[str, str], kind: str, fraction: float, notes: list[str]
) -> tuple[tuple[Recording, ...], tuple[Recording, ...]]:
    """Split noises or RIRs (sorted by name) for training and validation; very few are shared.

    Args:
        files: to split.
        groups: each file's recording session or room; what belongs together is on one side.
        kind: noise or rir.
        fraction: data.held_out_fraction, of the groups.
        notes: a line is added if they are shared.
    """
    names = sorted(set(groups.values()))
    if len(files) < _FEWEST_FILES_TO_SPLIT or len(names) < _FEWEST_GROUPS_TO_SPLIT:
        if files:
            counted = f"{len(files)} files" + (f" of {len(names)}" if len(names) < len(files) else "")
            what = "" if len(names) == len(files) else " rooms" if kind == "rir" else " recording sessions"
            notes.append(f"data.{kind}: {counted}{what} are too few to split, so validation shares them")
        return tuple(files), tuple(files)
    held_out = set(_first_by_hash(names, kind, max(1, round(fraction * len(names)))))
    return (
        tuple(file for file in files if groups[file.name] not in held_out),
        tuple(file for file in files if groups[file.name] in held_out),
    )


def _by_speaker(speakers: Speech, num_held_out: int) -> SpeechSplit:
    held_out = set(order_by_hash(_SPLIT_SEED, "split/speaker", speakers)[:num_held_out])
    return SpeechSplit(
        train={name: recordings for name, recordings in speakers.items() if name not in held_out},
        held_out={name: recordings for name, recordings in speakers.items() if name in held_out},
    )


def _by_utterance(
    speakers: Speech, fraction: float, needed: int, most_interferers: int, notes: list[str]
) -> SpeechSplit:
    train: Speech = {}
    held_out: Speech = {}
    few = []
    for speaker, recordings in speakers.items():
        if len(recordings) < 4:
            few.append(speaker)
            continue
        # A target and another recording as its reference, on both sides.
        count = min(max(2, round(fraction * len(recordings))), len(recordings) - 2)
        names = (recording.name for recording in recordings)
        chosen = set(_first_by_hash(names, f"utterance/{speaker}", count))
        train[speaker] = [recording for recording in recordings if recording.name not in chosen]
        held_out[speaker] = [recording for recording in recordings if recording.name in chosen]
    if few:
        notes.append(
            f"data.split: {len(few)} speakers with fewer than 4 recordings left out (2 are held out, "
            f"2 stay for training): {', '.join(few[:3])}{', ...' if len(few) > 3 else ''}"
        )
    if len(train) < needed:
        raise ConfigError(
            f"data.speech: mixtures with up to {most_interferers} interferers need {needed} speakers with 4 "
            f"recordings each (2 are held out), found {len(train)}{_named(train)}; lower mixing.num_interferers, "
            "or add speakers or recordings"
        )
    return SpeechSplit(train, held_out)


def _first_by_hash(names: Iterable[str], purpose: str, count: int) -> list[str]:
    return order_by_hash(_SPLIT_SEED, f"split/{purpose}", names)[:count]


def _named(speakers: Speech) -> str:
    return f" ({', '.join(sorted(speakers))})" if 0 < len(speakers) <= 3 else ""
