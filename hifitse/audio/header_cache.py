"""What scans found out before, kept in the cache folder. A cache that cannot be read or written is no error."""

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from hifitse.storage import write_text

_VERSION = 1


def cache_folder() -> Path:
    """Return the folder for what can be computed again: $XDG_CACHE_HOME/hifitse, or ~/.cache/hifitse."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "hifitse"


class HeaderCache:
    """The content, made of plain values, that was last saved for one root."""

    def __init__(self, root: Path, kind: str) -> None:
        """Load it; `content` is None where there is none, or one of another kind."""
        digest = hashlib.blake2b(str(root.resolve()).encode(), digest_size=12).hexdigest()
        self._path = cache_folder() / f"{kind}-{digest}.json"
        self.content: Any = None
        try:
            stored = json.loads(self._path.read_bytes())
            if stored["version"] == _VERSION:
                self.content = stored["files"]
        except (OSError, ValueError, KeyError, TypeError):
            pass

    def save(self, content: Any) -> None:
        if content == self.content:
            return
        with contextlib.suppress(OSError):
            write_text(self._path, json.dumps({"version": _VERSION, "files": content}))
