"""hifitse trains target speaker extraction models and keeps the training honest."""

from importlib.metadata import version

__version__ = version("hifitse")
