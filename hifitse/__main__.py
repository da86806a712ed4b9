"""``python -m hifitse`` is the same as ``hifitse``."""

from hifitse.cli import main

if __name__ == "__main__":
    main()
