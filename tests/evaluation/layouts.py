"""Tiny test sets in the layouts in which they are published, made from the bundled speech."""

from pathlib import Path

import numpy as np
import soundfile

from hifitse.audio.files import Samples, read_audio
from tests.helpers import SPEECH

SPEAKERS = ("1089", "2300", "4077", "5142")
"""Names that speakers of LibriSpeech have; the voices are the four of the demo."""


def voice(speaker: int, number: int, sample_rate: int) -> Samples:
    """Return an utterance of one of the four voices."""
    folder = sorted(SPEECH.iterdir())[speaker]
    return read_audio(sorted(folder.iterdir())[number], sample_rate)


def utterance(speaker: int, number: int) -> str:
    return f"{SPEAKERS[speaker]}-134686-{number:04d}"


def make_librimix(folder: Path, sample_rate: int = 16000, num_mixtures: int = 4, subset: str = "test") -> Path:
    """Write a Libri2Mix tree with SpeakerBeam's map, and return the metadata of its clean mixtures.

    Paths in the metadata are those of another machine, as in a tree that was copied.
    """
    root = folder / f"Libri2Mix/wav{sample_rate // 1000}k/min"
    there = Path(f"/elsewhere/Libri2Mix/wav{sample_rate // 1000}k/min")
    rows, enrolments = [], []
    for number in range(num_mixtures):
        one, other = number % 4, (number + 1 + number // 4) % 4
        sources = [voice(speaker, number, sample_rate) for speaker in (one, other)]
        length = min(map(len, sources))
        sources = [source[:length] for source in sources]
        mixture_id = f"{utterance(one, number)}_{utterance(other, number)}"
        parts = {"mix_clean": sources[0] + sources[1], "s1": sources[0], "s2": sources[1]}
        for part, samples in parts.items():
            write(root / subset / part / f"{mixture_id}.wav", samples, sample_rate)
        paths = [there / subset / part / f"{mixture_id}.wav" for part in parts]
        rows.append(",".join([mixture_id, *map(str, paths), f"{float(length)}"]))
    # The enrolment of a target is what the same speaker says in another mixture.
    said = [(row.split(",")[0], number) for row in rows for number in (0, 1)]
    for mixture_id, number in said:
        speaker = mixture_id.split("_")[number].split("-")[0]
        other_id, place = next((i, n) for i, n in said if i != mixture_id and i.split("_")[n].split("-")[0] == speaker)
        enrolments.append(f"{mixture_id} {mixture_id.split('_')[number]} s{place + 1}/{other_id}")
    metadata = root / "metadata" / f"mixture_{subset}_mix_clean.csv"
    metadata.parent.mkdir(exist_ok=True)
    metadata.write_text("mixture_ID,mixture_path,source_1_path,source_2_path,length\n" + "\n".join(rows) + "\n")
    (metadata.parent / f"metrics_{subset}_mix_clean.csv").write_text("mixture_ID,source_1_SNR\n")
    (metadata.parent / "map_mixture2enrollment").write_text("\n".join(enrolments) + "\n")
    return metadata


def make_csv(folder: Path, sample_rate: int = 8000, speakers: bool = True) -> Path:
    """Write a list of three mixtures, in the last of which the speaker is absent."""
    rows = ["mixture,reference,target,interferer,speaker"]
    for number, speaker in enumerate((0, 1, 2)):
        one, other = voice(speaker, number, sample_rate), voice(3, number, sample_rate)
        length = min(len(one), len(other))
        names = {"mixture": one[:length] + other[:length], "target": one[:length], "interferer": other[:length]}
        names["reference"] = voice(0 if number == 2 else speaker, number + 5, sample_rate)
        paths = {name: f"audio/{number}_{name}.wav" for name in names}
        for name, samples in names.items():
            write(folder / paths[name], samples, sample_rate)
        target = "" if number == 2 else paths["target"]
        rows.append(f"{paths['mixture']},{paths['reference']},{target},{paths['interferer']},voice{speaker}")
    (folder / "pairs.csv").write_text("\n".join(rows) + "\n")
    return folder / "pairs.csv"


def write(path: Path, samples: Samples, sample_rate: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.asarray(samples), sample_rate)
