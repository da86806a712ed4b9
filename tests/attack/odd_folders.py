"""Folders, names, manifests and HDF5 files that nobody would make, except to see what happens."""

import json
import os
import random
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

from tests.attack.odd_audio import VOICE, Maker

NAMES = (
    *("[bold].wav", "[red][i].wav", ":100:.wav", "a\nb.wav", "\x1b[5;35m.wav", "\x1b]0;owned\x07.wav", "\u202egnp.wav"),
    *(" .wav", "-x.wav", "--help.wav", "..wav", "a\tb.wav", "\x7f.wav", "\x85.wav", "%s{0}${HOME}~.wav", "é" * 120),
    *("x" * 251 + ".wav", "'\".wav", "\\.wav", "a::b.h5::c.wav", "NUL.wav", "\U0001f4a9.wav", "x.wav.wav", "*.wav"),
)
"""Names of recordings that are as good as others."""
INVALID = (b"\xff.wav", b"\xc3\x28.flac", b"a\xed\xa0\x80.wav", b"\xf8\x88\x80\x80.ogg")
"""Names that are no text."""


def _deep(folder: Path, rng: random.Random) -> None:
    """1 500 folders, one in the other; no path to the last can be written."""
    here = os.open(folder, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("odd", dir_fd=here)
        below = os.open("odd", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)


def _to_each_other(folder: Path, _: random.Random) -> None:
    for number in range(10):
        (folder / f"odd{number}").mkdir()
        for other in range(10):
            (folder / f"odd{number}" / f"to{other}").symlink_to(f"../odd{other}")


def _many(folder: Path, _: random.Random) -> None:
    for number in range(500):
        (folder / f"odd{number}").mkdir()


FOLDERS: dict[str, Maker] = {
    "links to each other": _to_each_other,
    "1 500 deep": _deep,
    "a link up": lambda folder, _: (folder / "odd").symlink_to(".."),
    "a link to itself": lambda folder, _: (folder / "odd").symlink_to("odd"),
    "a link to the root of the disk's devices": lambda folder, _: (folder / "odd").symlink_to("/dev"),
    "a folder called .wav": lambda folder, _: (folder / "odd.wav").mkdir(),
    "many empty folders": _many,
}

LINES = (
    *(
        b'{"path": "a\\u0000.wav"}',
        b'{"path": "\\ud800.wav"}',
        b"[" * 5000,
        b'{"path": ' * 5000,
        b"null",
        b"[]",
        b"1e999",
    ),
    *(
        b'{"path": 5}',
        b'{"speaker": "a"}',
        b'{"path": ""}',
        b'{"path": null}',
        b"{",
        b"\xff\xfe{}",
        b'"x"',
        b"9" * 5000,
    ),
    *(b'{"path": "odd.wav", "speaker": ["a"]}', b'{"path": "odd.wav", "name": {"a": 1}}', b"\x00", b"{}{}"),
    b'{"path": "' + b"x" * 10**6 + b'", "speaker": 1}',
)
"""Lines that are none of a manifest."""
PATHS = (
    "/dev/zero",
    "/dev/stdin",
    "/etc/passwd",
    "../../../../etc/shadow",
    ".",
    "x" * 5000,
    "odd.h5::a/0",
    "~/x",
    "\x1b[5;35m",
)
"""Paths in a manifest that lead to no recording."""


def manifest(path: Path, base: Path, *lines: bytes) -> None:
    """Write a manifest of the recordings in a folder, with these lines in the middle of it."""
    good_lines = [
        json.dumps({"path": str(found), "speaker": found.parent.name}).encode() for found in sorted(base.rglob("*.wav"))
    ]
    half = len(good_lines) // 2
    path.write_bytes(b"\n".join([*good_lines[:half], *lines, *good_lines[half:]]) + b"\n")


def hdf5(path: Path, change: Callable[[h5py.File], object]) -> None:
    """Write speech of six speakers as one file, and change it."""
    with h5py.File(path, "w") as file:
        file.attrs["sample_rate"] = 16000
        file["speaker_ids"] = [f"speaker{number}" for number in range(6)]
        for number in range(6):
            group = file.create_group(f"speaker{number}")
            group.attrs["count"] = 4
            for recording in range(4):
                group[str(recording)] = VOICE
        change(file)


def _outside(file: h5py.File) -> None:
    del file["speaker0/0"]
    file["speaker0"].create_dataset("0", (1000,), "f4", external=[("/etc/passwd", 0, 4000)])


def _virtual(file: h5py.File) -> None:
    del file["speaker0/0"]
    layout = h5py.VirtualLayout((1000,), "f4")
    layout[:] = h5py.VirtualSource("/etc/secret.h5", "x", (1000,))
    file["speaker0"].create_virtual_dataset("0", layout)


def _set(name: str, value: object) -> Callable[[h5py.File], object]:
    def change(file: h5py.File) -> None:
        del file[name]
        file[name] = value

    return change


def _attribute(name: str, value: object) -> Callable[[h5py.File], object]:
    return lambda file: file["speaker0"].attrs.__setitem__(name, value)


def _rate(value: object) -> Callable[[h5py.File], object]:
    return lambda file: file.attrs.__setitem__("sample_rate", value)


HDF5: dict[str, Callable[[h5py.File], object]] = {
    "samples in another file": _outside,
    "samples of a virtual dataset": _virtual,
    "a link to another file": _set("speaker0/0", h5py.ExternalLink("/etc/secret.h5", "x")),
    "a link inside": _set("speaker0/0", h5py.SoftLink("/speaker1/0")),
    "a link to itself": _set("speaker0/0", h5py.SoftLink("/speaker0/0")),
    "text": _set("speaker0/0", "text"),
    "a matrix": _set("speaker0/0", np.zeros((10, 10), np.float32)),
    "integers": _set("speaker0/0", np.zeros(100, np.int64)),
    "complex numbers": _set("speaker0/0", np.zeros(100, np.complex64)),
    "nothing": _set("speaker0/0", np.zeros(0, np.float32)),
    **{f"count of {value!r:.20}": _attribute("count", value) for value in (-1, 10**9, np.inf, "x", [1, 2], 2**62)},
    **{f"rate of {value!r:.20}": _rate(value) for value in (-1, 0, np.nan, 10**9, "x", [1, 2], 44101.5)},
    "another speaker": _set("speaker_ids", ["speaker0", "none", "..", "", "/", "a" * 3000]),
    "speakers of numbers": _set("speaker_ids", [1, 2, 3]),
    "speakers without end": _set("speaker_ids", h5py.SoftLink("/speaker_ids")),
}
"""Changes to a file after which something in it is no recording."""
