"""The errors that people see. Each one carries the exit code of the command that it ends.

HifitseError            1
├── UsageError          2
│   └── ConfigError     2
├── DataError           1
├── LoaderError         1
├── CheckpointError     1
├── RecordError         1
├── StoppedError        3
└── Interrupted         130 or 143
"""

import signal


class HifitseError(Exception):
    """Something failed; the message names the file or field, the value and the remedy."""

    exit_code = 1


class UsageError(HifitseError):
    """A command was called in a way that cannot work: unknown run, missing checkpoint, ..."""

    exit_code = 2


class ConfigError(UsageError):
    """The configuration is wrong; the message names file, line and key."""


class DataError(HifitseError):
    """A corpus or an audio file cannot be used."""


class LoaderError(HifitseError):
    """A loader process died or is stuck. What it was asked for can be asked for again."""


class CheckpointError(HifitseError):
    """A checkpoint is missing, damaged or does not fit."""


class RecordError(HifitseError):
    """A JSON file of a run cannot be read."""


class StoppedError(HifitseError):
    """A guard stopped the run, or a smoke check failed."""

    exit_code = 3


class Interrupted(HifitseError):
    """A signal ended the command, during training after its state was saved."""

    def __init__(self, message: str, signal_number: int) -> None:
        # Both of them, so that it can be sent to other ranks.
        super().__init__(message, signal_number)
        self.signal_number = signal_number
        self.exit_code = self.code_of(signal_number)

    def __str__(self) -> str:
        return str(self.args[0])

    @staticmethod
    def code_of(signal_number: int) -> int:
        """Return 130 for SIGINT, else 143: what terminals and batch systems send ahead of the end counts as SIGTERM."""
        return 130 if signal_number == signal.SIGINT else 143


def reason(error: Exception) -> str:
    """Return on one line why something could not be read."""
    if details := getattr(error, "errors", None):
        # One of pydantic's.
        first = details()[0]
        return ": ".join([*map(str, first["loc"]), first["msg"]])
    return getattr(error, "strerror", None) or str(error)
