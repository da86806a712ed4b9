"""Randomness as a function: (seed, purpose, index) -> generator. A hash, never a sum.

No generator state is ever saved: whoever needs a random number for something derives it from what
that something is. Interruptions, worker counts and call order therefore change nothing.
"""

import hashlib
from collections.abc import Iterable

import numpy as np


def derive(seed: int, purpose: str, *index: int) -> int:
    """Return a 64-bit number that depends on every argument, and on nothing else."""
    key = repr((seed, purpose, *index)).encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "little")


def generator(seed: int, purpose: str, *index: int) -> np.random.Generator:
    """Return a NumPy generator for one purpose, e.g. ``generator(0, "train", scene_index)``."""
    return np.random.Generator(np.random.PCG64(derive(seed, purpose, *index)))


def order_by_hash(seed: int, purpose: str, names: Iterable[str]) -> list[str]:
    """Return the names in a random but fixed order; two names keep theirs whatever joins them."""
    return sorted(names, key=lambda name: (derive(seed, f"{purpose}/{name}"), name))
