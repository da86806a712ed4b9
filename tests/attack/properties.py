"""What holds of every command, whatever it was given."""

import os
from collections.abc import Sequence
from pathlib import Path

from tests.attack.target import Result

ESCAPES = ("\x1b[5;35m", "\x1b]0;owned\x07")
"""Control sequences that attacks put into names; on a terminal, rich has others of its own."""


def complaints(result: Result, named: Sequence[str] = (), colors: bool = False) -> list[str]:
    """Return which properties a command has not.

    Args:
        named: of which its message, if it fails, has at least one.
        colors: it ran on a terminal.
    """
    found = []
    if result.code == -1:
        found.append(f"hangs: {result.seconds:.0f} s")
    elif result.code not in (0, 1, 2, 3):
        found.append(f"exit code {result.code}")
    if "Traceback" in result.err or "error: internal error" in result.err:
        found.append("an error that nobody thought of")
    said = result.out + result.err
    if colors:
        controls = {escape for escape in ESCAPES if escape in said}
    else:
        controls = {char for char in said if char != "\n" and (ord(char) < 32 or 127 <= ord(char) < 160)}
    if controls:
        found.append(f"steers the terminal: {controls}")
    if result.code in (1, 2, 3):
        if not result.err.strip():
            found.append("fails without a word")
        if named and not any(name in result.err for name in named):
            found.append(f"names none of {list(named)}")
    return [f"{complaint}\n  out: {result.out[-300:]!r}\n  err: {result.err[-600:]!r}" for complaint in found]


def content(folder: Path) -> dict[str, bytes]:
    """Return what is in a folder, without locks and tracebacks; links, pipes and the like by what they are."""
    found = {}
    for root, folders, names in os.walk(folder):
        for name in names + folders:
            path = Path(root) / name
            relative = str(path.relative_to(folder))
            if path.is_symlink():
                found[relative] = os.fsencode(os.readlink(path))
            elif path.is_file():
                found[relative] = path.read_bytes()
            else:
                found[relative] = b"a folder, a pipe, ..."
    return {name: data for name, data in found.items() if name != "lock"}
