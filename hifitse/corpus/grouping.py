"""What belongs together, by names: positions of one room, channels of one recording session, chapters of a reader.

Voices of one scene share a room, and nothing that belongs together is on both sides of the split.
"""

import re
from typing import Literal

SetName = Literal["train", "validation", "test"]

_SETS: dict[str, SetName] = {
    **dict.fromkeys(("train", "training", "tr"), "train"),
    **dict.fromkeys(("dev", "development", "val", "valid", "validation", "cv"), "validation"),
    **dict.fromkeys(("test", "testing", "tt"), "test"),
}
_CHANNEL = r"(?:ch|chan|channel|mic|microphone)[-_ ]?\d+"
_PLACE = r"(?:pos|position|src|source|spk|speaker|loc|location|angle)[-_ ]?\d+|near|far|left|right|front|back|angl[a-z]"
# A number after it is a part of that channel: ch01_07.
_CHANNEL_SUFFIX = re.compile(rf"(?:^|[-_. ]){_CHANNEL}(?:[-_. ]\d+)?$", re.IGNORECASE)
# A number after a number is a position, too: Room001-00001 is in Room001; but rir_00001 is not in "rir".
_POSITION_SUFFIX = re.compile(rf"(?:^|[-_. ])(?:{_CHANNEL}|{_PLACE})$|(?<=\d)[-_. ]\d+$", re.IGNORECASE)
_POSITION_FOLDER = re.compile(rf"\d+|{_CHANNEL}|{_PLACE}", re.IGNORECASE)
_CHANNEL_FOLDER = re.compile(_CHANNEL, re.IGNORECASE)
_CHAPTER = re.compile(r"book_\d+_chp_\d+", re.IGNORECASE)
_NOISE = re.compile(r"noises?(?![a-z])", re.IGNORECASE)
_RESPONSE = re.compile(r"rir|impulse|response|(?<![a-z])irs?(?![a-z])", re.IGNORECASE)


def room_of(name: str) -> str:
    """Return the room that an impulse response was made in.

    A folder is a room, but for folders that only say which channel or position: ``hall/mic_2/a.wav`` is in ``hall``. So
    is what the names in it have in common before a channel or a position: ``rirs/hall_near.wav`` and
    ``rirs/hall_far.wav`` are in ``rirs/hall``. Without folder and suffix each response is a room of its own, and so is
    one that has no file name (of an HDF5 file without names).

    Args:
        name: of the recording, relative to its root.
    """
    folder, _, file = name.rpartition("/")
    stem, dot, _ = file.rpartition(".")
    if not dot:
        return name
    parts = folder.split("/") if folder else []
    while parts and _POSITION_FOLDER.fullmatch(parts[-1]):
        parts.pop()
    shared = _without(_POSITION_SUFFIX, stem)
    if shared and shared != stem:
        parts.append(shared)
    return "/".join(parts) or (name if shared else folder or ".")


def session_of(name: str) -> str:
    """Return the recording session of a noise: its name without a channel (DEMAND: ``DKITCHEN/ch01.wav``).

    Args:
        name: of the recording, relative to its root.
    """
    folder, slash, file = name.rpartition("/")
    stem, dot, _ = file.rpartition(".")
    shared = _without(_CHANNEL_SUFFIX, stem if dot else file)
    return name if shared == (stem if dot else file) else f"{folder}{slash}{shared}"


def utterance_session_of(name: str, speaker: str) -> str:
    """Return the session that an utterance is from, where that is known; else the name: it is one of its own.

    It is the folder below that of the speaker, but for folders that only say which channel: ``19/198/19-198-0000.flac``
    of LibriSpeech is from the chapter ``19/198``, ``id00012/VIDEO/00001.wav`` of VoxCeleb from a video. Or it is the
    chapter that a file name of the DNS corpus begins with. All names of a session begin alike.

    Args:
        name: of the recording, relative to its root.
        speaker: whose folder it is in, perhaps with a corpus before it: ``vctk/p225``.
    """
    *folders, file = name.split("/")
    speaker = speaker.rpartition("/")[2]
    if speaker in folders:
        own = len(folders) - folders[::-1].index(speaker)
        while len(folders) > own and _CHANNEL_FOLDER.fullmatch(folders[-1]):
            folders.pop()
        if len(folders) > own:
            return "/".join(folders)
    chapter = _CHAPTER.search(file)
    return name[: len(name) - len(file) + chapter.end()] if chapter else name


def set_of(name: str) -> SetName | None:
    """Return the set that a folder, a file or an entry of the column `split` says, as ``train-clean-100`` does."""
    return _SETS.get(re.split(r"[-_. ]", name.lower(), maxsplit=1)[0])


def is_noise(name: str) -> bool:
    """Tell whether a recording in a tree of impulse responses is a noise, as OpenSLR 28 has them beside its responses.

    Args:
        name: relative to the root; a folder or file that is called noise, but not impulse response, is one.
    """
    return any(_NOISE.search(part) and not _RESPONSE.search(part) for part in name.split("/"))


def _without(suffix: re.Pattern[str], stem: str) -> str:
    while (shorter := suffix.sub("", stem)) != stem:
        stem = shorter
    return stem
