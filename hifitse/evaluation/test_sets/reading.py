"""From what a user names to the pairs of a test set, whatever its layout."""

from pathlib import Path

from hifitse.errors import DataError, UsageError
from hifitse.evaluation.test_sets.csv_list import read_csv
from hifitse.evaluation.test_sets.kaldi import is_wesep, is_wsj0_extr, read_wesep, read_wsj0_extr
from hifitse.evaluation.test_sets.librimix import is_librimix, metadata_in, read_librimix
from hifitse.evaluation.test_sets.pairs import PairList

_LAYOUTS = "a CSV file, LibriMix's metadata, a folder of WeSep's lists, or one of WSJ0-2mix-extr"


def read_pairs(path: Path, enrolment: Path | None = None) -> PairList:
    """Read a test set.

    Args:
        path: a CSV file or a folder.
        enrolment: LibriMix's map from mixtures to enrolments, where it is not beside the metadata.

    Raises:
        UsageError: there is no such file, it is no test set, or more than one.
        DataError: a list is wrong.
    """
    found = _read(path, enrolment)
    if enrolment is not None and not found.layout.startswith("Libri"):
        raise UsageError(f"--enrolment {enrolment}: {path} is no LibriMix and names its references; leave it out")
    if not found.pairs:
        raise DataError(f"{path}: holds no mixtures")
    return found


def _read(path: Path, enrolment: Path | None) -> PairList:
    if path.is_file():
        return read_librimix(path, enrolment) if is_librimix(path) else read_csv(path)
    if not path.is_dir():
        raise UsageError(f"{path}: no such file or folder; give {_LAYOUTS}")
    if metadata := metadata_in(path):
        if len(metadata) > 1:
            raise UsageError(f"{path}: holds {', '.join(file.name for file in metadata)}; name one of them")
        return read_librimix(metadata[0], enrolment)
    if is_wesep(path):
        return read_wesep(path)
    if is_wsj0_extr(path):
        return read_wsj0_extr(path)
    raise UsageError(f"{path}: is no test set that is known; give {_LAYOUTS}")
