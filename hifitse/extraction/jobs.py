"""What is to be extracted: one mixture, a folder of them, or a list. All is checked before the work begins."""

import csv
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hifitse.audio import decoding
from hifitse.audio.files import probe_audio
from hifitse.corpus.scan import EXTENSIONS
from hifitse.errors import DataError, UsageError
from hifitse.inference import MIN_SECONDS

_COLUMNS = ("mixture", "reference", "output")
_SUFFIXES = (*EXTENSIONS, ".opus", *decoding.SUFFIXES)


@dataclass(frozen=True)
class Job:
    """A voice to be extracted."""

    mixture: Path
    references: tuple[Path, ...]
    output: Path


def is_many(mixture: Path) -> bool:
    """Tell whether an argument stands for several mixtures: a folder, or a list."""
    return mixture.is_dir() or mixture.suffix.lower() == ".csv"


def find_jobs(mixture: Path, references: Sequence[Path], output: Path) -> list[Job]:
    """Return what there is to do.

    Args:
        mixture: a recording; a folder of recordings, those directly in it; or a list, a CSV file with the columns
            mixture, reference and output, and reference2, ... for further references. Paths in it are relative to
            it, those of outputs to `output`.
        references: for all mixtures; none where a list has them.
        output: a .wav file, or a folder for several.

    Raises:
        UsageError: these do not belong together, or there is nothing to do.
        DataError: the list is wrong.
    """
    is_list = mixture.suffix.lower() == ".csv" and not mixture.is_dir()
    if is_list and references:
        raise UsageError(f"{mixture}: a list names the references; leave out {references[0]}")
    if not is_list and not references:
        raise UsageError(
            f"{mixture}: no reference; give a recording of the wanted speaker, or several with --reference"
        )
    if is_many(mixture) and (output.is_file() or output.suffix.lower() == ".wav"):
        raise UsageError(f"--output {output}: of several mixtures a folder is needed; name one")
    if not output.parent.is_dir():
        raise UsageError(f"--output {output}: there is no folder {output.parent}; make it first")
    if is_list:
        return _read_list(mixture, output)
    if not mixture.is_dir():
        return [Job(mixture, tuple(references), output)]
    found = sorted(path for path in mixture.iterdir() if path.suffix.lower() in _SUFFIXES and path.is_file())
    if not found:
        raise UsageError(f"{mixture}: no recordings in it; known are {', '.join(_SUFFIXES)}")
    return [Job(path, tuple(references), output / f"{path.stem}.wav") for path in found]


def _read_list(path: Path, output: Path) -> list[Job]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="")
            header, rows = reader.fieldnames or [], list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as a list ({error}); give a CSV file") from None
    if missing := [column for column in _COLUMNS if column not in header]:
        raise DataError(f"{path}: no column {', '.join(missing)}; its first line has to name {', '.join(_COLUMNS)}")
    jobs = []
    for number, row in enumerate(rows, 2):
        row = {column: value.strip() for column, value in row.items() if column and isinstance(value, str)}
        if empty := [column for column in _COLUMNS if not row[column]]:
            raise DataError(f"{path}: row {number} has no {empty[0]}; complete or remove it")
        references = [value for column, value in row.items() if column.startswith("reference") and value]
        folder = path.parent
        jobs.append(Job(folder / row["mixture"], tuple(folder / name for name in references), output / row["output"]))
    if not jobs:
        raise DataError(f"{path}: no rows below its first line; give a mixture, a reference and an output in each")
    return jobs


def check_jobs(jobs: Sequence[Job], target: Path | None, channel: int | None) -> float:
    """Check all that can be checked without decoding anything, and return how many seconds of sound there are.

    Of what ffmpeg has to decode, only that it is there.

    Args:
        target: the true voice, of one mixture.
        channel: the one channel that is wanted.

    Raises:
        UsageError: an output cannot be, or would overwrite an input or another output.
        DataError: a recording is unreadable or too short.
    """
    for output, count in Counter(job.output for job in jobs).items():
        if count > 1:
            raise UsageError(f"--output {output}: {count} mixtures would be written into it; rename them")
    inputs = [path for job in jobs for path in (job.mixture, *job.references)] + ([target] if target else [])
    identities = {(path.stat().st_dev, path.stat().st_ino): path for path in inputs if path.exists()}
    for job in jobs:
        _check_output(job.output, identities)
    for path in dict.fromkeys(path for job in jobs for path in job.references):
        if not decoding.needs_ffmpeg(path):
            probe_audio(path)
    seconds = sum(_check_mixture(path, channel) * count for path, count in Counter(job.mixture for job in jobs).items())
    if target and not decoding.needs_ffmpeg(target):
        info = probe_audio(target)
        if info.num_frames / info.sample_rate < seconds - 1e-3:
            raise DataError(f"{target}: shorter than the mixture; give the true voice of all of {jobs[0].mixture}")
    return seconds


def _check_output(output: Path, inputs: dict[tuple[int, int], Path]) -> None:
    if output.suffix.lower() != ".wav":
        raise UsageError(f"--output {output}: must end in .wav (32-bit float, which keeps any level)")
    if output.is_dir():
        raise UsageError(f"--output {output}: a folder; name a file in it")
    if output.exists() and (given := inputs.get((output.stat().st_dev, output.stat().st_ino))):
        raise UsageError(f"--output {output}: is {given}, which would be overwritten; give another name")


def _check_mixture(path: Path, channel: int | None) -> float:
    if decoding.needs_ffmpeg(path):
        return 0.0
    info = probe_audio(path)
    if (seconds := info.num_frames / info.sample_rate) < MIN_SECONDS:
        raise DataError(f"{path}: lasts {seconds:.3f} s; give at least {MIN_SECONDS} s")
    if channel is not None and channel >= info.num_channels:
        raise UsageError(f"--channel {channel}: {path} has {info.num_channels}, which are counted from 0")
    return seconds
