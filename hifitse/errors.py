"""The errors that people see. Each one carries the exit code of the command that it ends."""


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


class CheckpointError(HifitseError):
    """A checkpoint is missing, damaged or does not fit."""


class StoppedError(HifitseError):
    """A guard stopped the run, or a smoke check failed."""

    exit_code = 3


class Interrupted(HifitseError):
    """A signal ended the command after its state was saved; 130 for SIGINT, 143 for SIGTERM."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number
