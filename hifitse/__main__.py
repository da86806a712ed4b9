"""``python -m hifitse`` is the same as ``hifitse``."""

from hifitse.cli import main

main()
