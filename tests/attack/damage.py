"""What happens to a file: by a disk, by hand, or by a stranger who knows the format."""

import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from hifitse.storage import CHECKSUM, write_sealed

Damage = Callable[[Path, random.Random], object]
"""Changes one file."""

ODD_TEXTS = ("", "x" * 5000, "[/bold]", ":100:", "\x1b[5;35m", "a\nb", "\x00", "é", "../../etc/passwd", "é" * 300)
ODD_VALUES: tuple[Any, ...] = (
    *(None, True, [], {}, [[]], {"a": {}}, -1, 0, 1, 10**6, 2**63, 10**30, -0.5, 1e308, -1e308),
    *(float("nan"), float("inf"), *ODD_TEXTS),
)


# By a disk


def flip_bits(path: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(rng.choice((1, 1, 1, 2, 20))):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def cut_short(path: Path, rng: random.Random) -> None:
    os.truncate(path, rng.randrange(path.stat().st_size))


def zero_the_end(path: Path, rng: random.Random) -> None:
    size = path.stat().st_size
    os.truncate(path, rng.randrange(size))
    os.truncate(path, size)


def zero_a_part(path: Path, rng: random.Random) -> None:
    content = bytearray(path.read_bytes())
    start = rng.randrange(len(content))
    content[start : start + 64] = bytes(len(content[start : start + 64]))
    path.write_bytes(content)


def write_something_else(path: Path, rng: random.Random) -> None:
    texts = (
        b"",
        b"\n",
        b"null",
        b"[]",
        b"{}",
        b"[" * 3000,
        b'{"a":' * 3000,
        b"\xff\xfe\x00",
        b'"\\ud800"',
        b"9" * 5000,
    )
    path.write_bytes(rng.choice((*texts, rng.randbytes(300))))


BY_A_DISK: tuple[Damage, ...] = (flip_bits, flip_bits, flip_bits, cut_short, zero_the_end, zero_a_part)


# Something that is no file


def make_a_folder(path: Path, rng: random.Random) -> None:
    path.unlink()
    path.mkdir()


def make_a_pipe(path: Path, rng: random.Random) -> None:
    path.unlink()
    os.mkfifo(path)


def make_a_link(path: Path, rng: random.Random) -> None:
    path.unlink()
    path.symlink_to(rng.choice((path.name, "/dev/zero", "/dev/full", "/nowhere", "/proc/self/mem", "..")))


NO_FILES: tuple[Damage, ...] = (make_a_folder, make_a_pipe, make_a_link)


# By hand, or by a stranger


def change_somewhere(data: Any, rng: random.Random) -> Any:
    """Return JSON data with one value, wherever it is, replaced, removed or added."""
    if not isinstance(data, dict | list) or not data or rng.random() < 0.1:
        return rng.choice(ODD_VALUES)
    keys: list[Any] = sorted(data) if isinstance(data, dict) else list(range(len(data)))
    key, what = rng.choice(keys), rng.random()
    if what < 0.15:
        del data[key]
    elif what < 0.25 and isinstance(data, dict):
        data[rng.choice(ODD_TEXTS)] = rng.choice(ODD_VALUES)
    else:
        data[key] = change_somewhere(data[key], rng)
    return data


def change_record(path: Path, rng: random.Random) -> None:
    """Change a value of a sealed record, whose checksum then does not fit, is not there, or was made to fit."""
    data, how = json.loads(path.read_text()), rng.choice(("as it was", "no seal", "another seal", "another seal"))
    seal = data.pop(CHECKSUM)
    data = change_somewhere(data, rng)
    if not isinstance(data, dict) or how == "no seal":
        path.write_text(json.dumps(data))
    elif how == "as it was":
        path.write_text(json.dumps(data | {CHECKSUM: seal}))
    else:
        write_sealed(path, data)


def change_row(path: Path, rng: random.Random) -> None:
    lines = path.read_text().splitlines()
    number = rng.randrange(len(lines))
    lines[number] = json.dumps(change_somewhere(json.loads(lines[number]), rng))
    if rng.random() < 0.3:
        rng.shuffle(lines)
    path.write_text("\n".join(lines) + "\n")


def change_setting(path: Path, rng: random.Random) -> None:
    data = change_somewhere(yaml.safe_load(path.read_text()), rng)
    path.write_text(yaml.safe_dump(data, sort_keys=False))
