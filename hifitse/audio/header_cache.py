"""What scans found out before, kept in the cache folder. A cache that cannot be read or written is no error."""

import contextlib
import hashlib
import os
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import TypeAdapter
from pydantic_core import to_jsonable_python

from hifitse.errors import UsageError
from hifitse.storage import read_sealed, write_sealed

# 1 had no checksum.
_VERSION = 2

T = TypeVar("T")


def cache_folder() -> Path:
    """Return the folder for what can be computed again: $XDG_CACHE_HOME/hifitse, or ~/.cache/hifitse.

    Raises:
        UsageError: neither variable is set, and the system does not know this user.
    """
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "hifitse"
    try:
        return Path.home() / ".cache" / "hifitse"
    except RuntimeError:
        raise UsageError(
            f"user {os.getuid()} has no home folder; set HOME or XDG_CACHE_HOME to a folder that can be written"
        ) from None


class HeaderCache(Generic[T]):
    """The content that was last saved for one root, checked: what it says of a file is not looked at again."""

    def __init__(self, root: Path, kind: str, shape: TypeAdapter[T]) -> None:
        """Load it; `content` is None where there is none, a damaged one, or one of another shape."""
        digest = hashlib.blake2b(str(root.resolve()).encode(), digest_size=12).hexdigest()
        self._path = cache_folder() / f"{kind}-{digest}.json"
        self.content: T | None = None
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            stored = read_sealed(self._path)
            if stored["version"] == _VERSION:
                self.content = shape.validate_python(stored["files"])

    def save(self, content: T) -> None:
        if content == self.content:
            return
        with contextlib.suppress(OSError):
            write_sealed(self._path, {"version": _VERSION, "files": to_jsonable_python(content)}, indent=None)
