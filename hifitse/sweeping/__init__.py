"""Sweeps: many trainings with other settings each, by several processes and machines, and what comes of them."""

from pathlib import Path

RECORD = "sweep.json"
"""In the folder of a sweep."""


def is_sweep(folder: Path) -> bool:
    """Tell whether a folder is that of a sweep."""
    return (folder / RECORD).is_file()
