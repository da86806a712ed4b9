"""Which rank this process is: torchrun and ``--ranks`` say so in its environment."""

import os
from dataclasses import dataclass

from hifitse.errors import UsageError

_NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class Place:
    """This process among its ranks."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    """Among those of this machine."""


def read_place() -> Place:
    """Return what the environment says.

    Raises:
        UsageError: it says that this is one of several ranks, but not all that a rank has to know.
    """
    rank, size = os.environ.get("RANK") or "0", os.environ.get("WORLD_SIZE") or "1"
    if (rank, size) == ("0", "1"):
        return Place()
    local_rank = os.environ.get("LOCAL_RANK") or "0"
    is_whole = all(os.environ.get(name) for name in _NAMES) and all(n.isdecimal() for n in (rank, size, local_rank))
    if not is_whole or int(rank) >= int(size):
        found = ", ".join(f"{name}={os.environ[name]}" for name in _NAMES if name in os.environ)
        raise UsageError(
            f"{found}: in the environment, so this would be one of several ranks; to train in one process unset them; "
            f"torchrun and --ranks set all that a rank has to know ({', '.join(_NAMES)})"
        )
    return Place(int(rank), int(size), int(local_rank))
