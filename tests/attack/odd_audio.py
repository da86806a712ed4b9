"""Files that are called recordings. Each maker writes one or more whose names have ``odd`` in them into a folder."""

import os
import random
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile as sf

from tests.helpers import SPEECH

Maker = Callable[[Path, random.Random], object]
VOICE, RATE = sf.read(sorted(SPEECH.rglob("*.flac"))[3], frames=24000, dtype="float32")


def good(path: Path, rate: int = RATE) -> bytes:
    """Write a recording of a voice and return its bytes."""
    form = path.suffix[1:].upper()
    # It encodes paths by itself, but not those that are no text.
    with path.open("wb") as file:
        sf.write(file, VOICE, rate, format=form if form in ("FLAC", "OGG", "MP3") else "WAV")
    return path.read_bytes()


def riff(channels: int = 1, rate: int = 16000, bits: int = 16, kind: int = 1, length: int = 2000) -> bytes:
    """Return a WAV file whose header says this, with a second of noise."""
    data = random.Random(0).randbytes(2000)
    block = channels * bits // 8 % 2**16
    form = struct.pack("<HHIIHH", kind, channels, rate, rate * block % 2**32, block, bits)
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", length) + data
    return b"RIFF" + struct.pack("<I", min(len(body), 2**32 - 1)) + body


def _bytes(name: str, content: bytes) -> Maker:
    return lambda folder, _: (folder / name).write_bytes(content)


def _link(name: str, to: str) -> Maker:
    return lambda folder, _: (folder / name).symlink_to(to)


def _at_rate(rate: int) -> Maker:
    return lambda folder, _: sf.write(folder / "odd.wav", VOICE, rate)


def _samples(value: float) -> Maker:
    return lambda folder, _: sf.write(folder / "odd.wav", np.full(16000, value, np.float32), 16000, "FLOAT")


def _cut(suffix: str) -> Maker:
    """Cut within the header: what is cut later is a shorter recording to some decoders."""

    def make(folder: Path, rng: random.Random) -> None:
        path = folder / f"odd{suffix}"
        good(path)
        os.truncate(path, rng.randrange(1, 40))

    return make


def _flip(suffix: str) -> Maker:
    def make(folder: Path, rng: random.Random) -> None:
        path = folder / f"odd{suffix}"
        content = bytearray(good(path))
        for _ in range(rng.choice((1, 5, 50))):
            content[rng.randrange(len(content) if rng.random() < 0.5 else 60)] ^= 1 << rng.randrange(8)
        path.write_bytes(content)

    return make


def _socket(folder: Path, _: random.Random) -> None:
    before = os.getcwd()
    os.chdir(folder)  # Their paths must be short.
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("odd.flac")
    os.chdir(before)


def _sparse(name: str, start: bytes, size: int) -> Maker:
    def make(folder: Path, _: random.Random) -> None:
        (folder / name).write_bytes(start)
        os.truncate(folder / name, size)

    return make


BROKEN: dict[str, Maker] = {
    "a pipe": lambda folder, _: os.mkfifo(folder / "odd.wav"),
    "a socket": _socket,
    "a link to itself": _link("odd.wav", "odd.wav"),
    "a link to nothing": _link("odd.flac", "/nowhere/at/all"),
    "a device without end": _link("odd.wav", "/dev/zero"),
    "a device of noise": _link("odd.mp3", "/dev/urandom"),
    "its own input": _link("odd.ogg", "/dev/stdin"),
    "the memory of the process": _link("odd.wav", "/proc/self/mem"),
    **{f"nothing in a {suffix}": _bytes(f"odd{suffix}", b"") for suffix in (".wav", ".flac", ".ogg", ".mp3")},
    **{f"text in a {suffix}": _bytes(f"odd{suffix}", b"hello world\n" * 50) for suffix in (".wav", ".flac", ".ogg")},
    "noise in a .wav": _bytes("odd.wav", random.Random(1).randbytes(5000)),
    "noise in a .flac": _bytes("odd.flac", b"fLaC" + random.Random(1).randbytes(5000)),
    "noise in an .ogg": _bytes("odd.ogg", b"OggS" + random.Random(2).randbytes(5000)),
    "zeros in an .mp3": _bytes("odd.mp3", bytes(5000)),
    **{f"a cut {suffix}": _cut(suffix) for suffix in (".wav", ".flac", ".ogg")},
    "no channels": _bytes("odd.wav", riff(channels=0)),
    "65 535 channels": _bytes("odd.wav", riff(channels=65535)),
    "no rate": _bytes("odd.wav", riff(rate=0)),
    "1 Hz": _bytes("odd.wav", riff(rate=1)),
    "a prime of a rate": _bytes("odd.wav", riff(rate=999_999_937)),
    "the highest rate": _bytes("odd.wav", riff(rate=2**32 - 1)),
    "no bits": _bytes("odd.wav", riff(bits=0)),
    "an unknown format": _bytes("odd.wav", riff(kind=77)),
    "a RIFF of nothing": _bytes("odd.wav", b"RIFF\x04\x00\x00\x00WAVE"),
    "512 MB of nothing": _sparse("odd.wav", b"", 2**29),
    "512 MB of flac": _sparse("odd.flac", b"fLaC", 2**29),
}
"""No recordings: each is to be left out, by name."""

ODD: dict[str, Maker] = {
    "44 101 Hz": _at_rate(44101),
    "7 919 Hz": _at_rate(7919),
    "191 999 Hz": _at_rate(191_999),
    "a header of 4 GB": _bytes("odd.wav", riff(length=2**32 - 1)),
    "64 bits": _bytes("odd.wav", riff(bits=64, kind=3)),
    "mu-law": _bytes("odd.wav", riff(bits=8, kind=7)),
    "an RF64": _bytes("odd.wav", b"RF64" + riff()[4:]),
    "512 MB of silence": _sparse("odd.wav", riff(length=2**29 - 44)[:44], 2**29),
    "NaN": _samples(float("nan")),
    "infinity": _samples(float("inf")),
    "3e38": _samples(3e38),
    "1e-40": _samples(1e-40),
    "silence": _samples(0.0),
    "one sample": lambda folder, _: sf.write(folder / "odd.wav", VOICE[:1], RATE),
    "64 channels": lambda folder, _: sf.write(folder / "odd.wav", np.tile(VOICE[:, None], 64), RATE),
    "an .aiff called .wav": lambda folder, _: sf.write(folder / "odd.wav", VOICE, RATE, format="AIFF"),
    "an .mp3 called .wav": lambda folder, _: sf.write(folder / "odd.wav", VOICE, RATE, format="MP3"),
    **{f"a flipped {suffix}": _flip(suffix) for suffix in (".wav", ".flac", ".ogg", ".mp3")},
}
"""Whether these are recordings is for the decoder to say; what cannot be used is named when it is read."""
