"""What validation and test hold out: whole speakers where there are enough, else utterances of each speaker; whole
recording sessions of noise, and whole rooms.

Who is held out follows from a hash of the name, never from config.seed or from the order of files: every
seed validates on the same speakers, and a speaker that joins the corpus moves at most a few others.
"""

from collections.abc import Iterable, Mapping, Sequence

from hifitse.audio.recording import Recording
from hifitse.config.data import DataConfig
from hifitse.corpus.grouping import SetName
from hifitse.errors import ConfigError
from hifitse.seeding import order_by_hash

_SPLIT_SEED = 0
# Below this, a held-out file is a larger loss for training than a shared one is for validation.
_FEWEST_FILES_TO_SPLIT = 20
_FEWEST_GROUPS_TO_SPLIT = 4

Speech = dict[str, list[Recording]]


def split_speech(
    speakers: Speech, held_out: Sequence[SetName], data: DataConfig, most_interferers: int, notes: list[str]
) -> dict[SetName, Speech]:
    """Split by speaker; or by utterance, where speakers are too few or data.split says so, and for validation only.

    Args:
        speakers: each with at least 2 recordings.
        held_out: the sets to hold out, validation before test: so it has the same speakers with a test as without.
        most_interferers: the most that a mixture can have; each set needs one speaker more.
        notes: a line is added for each thing left out or decided.

    Raises:
        ConfigError: there are too few speakers, or too few recordings of each.
    """
    needed = 1 + most_interferers
    require_enough(speakers, "data.speech", most_interferers)
    if not held_out:
        return {"train": speakers}
    total, fewest = len(speakers), data.min_held_out_speakers
    # By the fewest that are wanted, a set takes no more than a quarter from the training.
    count = max(needed, round(data.held_out_fraction * total), min(fewest, total // 4))
    left, purpose = total - count * len(held_out), " and ".join(held_out)
    if data.split != "utterance" and left >= needed:
        if count < fewest:
            each = " each" if len(held_out) > 1 else ""
            notes.append(
                f"data.min_held_out_speakers: {count} of {total} speakers are held out for {purpose}{each}, not "
                f"{fewest}, so that enough are left for training; figures of few voices say little about others"
            )
        return _by_speaker(speakers, held_out, count)
    if "test" in held_out:
        raise ConfigError(
            f"test: {total} speakers are too few to hold {count} out for {purpose}, or data.split: utterance forbids "
            "it; name other corpora in test.speech, or remove the section"
        )
    if data.split == "speaker":
        raise ConfigError(
            f"data.split: speaker: holding out {count} of {total} speakers leaves {left} for training, and {needed} "
            "are needed; use auto or utterance, lower mixing.num_interferers, or add speakers"
        )
    if data.split != "utterance":
        notes.append(
            f"data.split: {total} speakers are too few to hold some out ({2 * needed} are needed), so "
            "utterances of every speaker are held out; the validation is on known speakers"
        )
    return _by_utterance(speakers, data.held_out_fraction, needed, most_interferers, notes)


def require_enough(speakers: Speech, key: str, most_interferers: int) -> None:
    """Check that there is a target besides the most interferers that a mixture can have.

    Raises:
        ConfigError: there is none.
    """
    if len(speakers) <= most_interferers:
        raise ConfigError(
            f"{key}: mixtures with up to {most_interferers} interferers need {1 + most_interferers} speakers with 2 "
            f"recordings each, found {len(speakers)}{_named(speakers)}; lower mixing.num_interferers "
            "or add speakers (one folder for each, directly under the root)"
        )


def split_files(
    files: Sequence[Recording], groups: Mapping[Recording, str], kind: str, fraction: float, notes: list[str]
) -> tuple[tuple[Recording, ...], tuple[Recording, ...]]:
    """Split noises or RIRs (sorted by name) for training and validation; very few are shared.

    Args:
        files: to split.
        groups: each file's recording session or room; what belongs together is on one side.
        kind: noise or rir.
        fraction: data.held_out_fraction, of the groups.
        notes: a line is added if they are shared.
    """
    names = sorted({groups[file] for file in files})
    if len(files) < _FEWEST_FILES_TO_SPLIT or len(names) < _FEWEST_GROUPS_TO_SPLIT:
        if files:
            counted = f"{len(files)} files" + (f" of {len(names)}" if len(names) < len(files) else "")
            what = "" if len(names) == len(files) else " rooms" if kind == "rir" else " recording sessions"
            notes.append(f"data.{kind}: {counted}{what} are too few to split, so validation shares them")
        return tuple(files), tuple(files)
    held_out = set(_first_by_hash(names, kind, max(1, round(fraction * len(names)))))
    return (
        tuple(file for file in files if groups[file] not in held_out),
        tuple(file for file in files if groups[file] in held_out),
    )


def _by_speaker(speakers: Speech, held_out: Sequence[SetName], count: int) -> dict[SetName, Speech]:
    order = order_by_hash(_SPLIT_SEED, "split/speaker", speakers)
    chosen = {part: set(order[number * count : (number + 1) * count]) for number, part in enumerate(held_out)}
    chosen["train"] = set(order[count * len(held_out) :])
    return {part: {name: found for name, found in speakers.items() if name in who} for part, who in chosen.items()}


def _by_utterance(
    speakers: Speech, fraction: float, needed: int, most_interferers: int, notes: list[str]
) -> dict[SetName, Speech]:
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
    return {"train": train, "validation": held_out}


def _first_by_hash(names: Iterable[str], purpose: str, count: int) -> list[str]:
    return order_by_hash(_SPLIT_SEED, f"split/{purpose}", names)[:count]


def _named(speakers: Speech) -> str:
    return f" ({', '.join(sorted(speakers))})" if 0 < len(speakers) <= 3 else ""
