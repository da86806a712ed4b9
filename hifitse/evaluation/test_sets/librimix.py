"""LibriMix as its script writes it, with the fixed enrolments of SpeakerBeam; both targets of a mixture are scored.

J. Cosentino et al., "LibriMix: an open-source dataset for generalizable speech separation", 2020;
K. Zmolikova et al., "SpeakerBeam", IEEE JSTSP 13(4), 2019. The tree::

    wav8k/min/metadata/mixture_test_mix_clean.csv   mixture_ID,mixture_path,source_1_path,source_2_path,length
    wav8k/min/test/{mix_clean,mix_both,s1,s2}/<mixture_ID>.wav
    map_mixture2enrollment                          mixture_ID target_utterance_ID s1/<mixture_ID of the enrolment>
"""

from pathlib import Path

from hifitse.errors import DataError, UsageError
from hifitse.evaluation.test_sets.pairs import Pair, PairList
from hifitse.evaluation.test_sets.tables import read_lines, read_table

_MAPS = ("map_mixture2enrollment", "map_mixture2enrollment_3spk", "mixture2enrollment")


def is_librimix(path: Path) -> bool:
    """Tell whether a CSV file is the metadata of a LibriMix subset."""
    with path.open("rb") as file:
        return file.readline(200).startswith(b"mixture_ID,")


def metadata_in(folder: Path) -> list[Path]:
    """Return the metadata of the mixtures in a folder."""
    return [path for path in sorted(folder.glob("mixture_*.csv")) if is_librimix(path)]


def read_librimix(path: Path, enrolment: Path | None) -> PairList:
    """Read one subset.

    Args:
        path: its metadata.
        enrolment: the map to the enrolments; None: the one beside the metadata or in the folder of the subset.

    Raises:
        DataError: the metadata or the map lack something.
        UsageError: there is no map.
    """
    header, rows = read_table(path)
    sources = [column for column in header if column.startswith("source_") and column.endswith("_path")]
    if "mixture_path" not in header or not sources:
        raise DataError(f"{path}: has no column mixture_path or source_1_path; give the metadata that LibriMix wrote")
    if not rows:
        raise DataError(f"{path}: has no mixtures")
    root = _root(path, rows[0][header.index("mixture_path")])
    enrolments = _read_map(enrolment or _find_map(path, root, rows[0][header.index("mixture_path")]))
    pairs = []
    for row in rows:
        fields = dict(zip(header, row, strict=True))
        mixture_id = fields["mixture_ID"]
        targets = [_located(fields[column], root) for column in sources]
        for number, target in enumerate(targets):
            utterance = mixture_id.split("_")[number]
            if (mixture_id, utterance) not in enrolments:
                raise DataError(
                    f"{path}: the map of enrolments has no line for {mixture_id} {utterance}; "
                    "name the map of this subset with --enrolment"
                )
            # s1/<mixture_ID>, beside the folder of the target.
            enrolled = target.parent.parent / f"{enrolments[mixture_id, utterance]}.wav"
            others = tuple(other for other in targets if other is not target)
            mixture = _located(fields["mixture_path"], root)
            speaker = utterance.split("-")[0]
            pairs.append(Pair(f"{mixture_id}/{utterance}", mixture, enrolled, target, speaker, others))
    return PairList(path.stem.removeprefix("mixture_"), f"Libri{len(sources)}Mix", root, tuple(pairs))


def _root(metadata: Path, listed: str) -> Path:
    """Return the folder that ``test/mix_clean/<mixture_ID>.wav`` is in; absolute paths may be of another machine."""
    parts = Path(listed).parts[-3:]
    for folder in metadata.absolute().parents[:3]:
        if folder.joinpath(*parts).is_file():
            return folder
    if Path(listed).is_absolute() and Path(listed).is_file():
        return Path(listed).parents[2]
    raise DataError(
        f"{metadata}: {listed} is not there, and {'/'.join(parts)} not in a folder around the metadata; "
        "put the metadata back into LibriMix's tree"
    )


def _located(listed: str, root: Path) -> Path:
    return root.joinpath(*Path(listed).parts[-3:])


def _find_map(metadata: Path, root: Path, mixture: str) -> Path:
    folders = (metadata.parent, root / Path(mixture).parts[-3])
    for path in (folder / name for folder in folders for name in _MAPS):
        if path.is_file():
            return path
    raise UsageError(
        f"{metadata}: there is no {_MAPS[0]} beside it or in {folders[1]}; SpeakerBeam's repository has it "
        "(egs/libri2mix/data/wav8k/min/test): put it there, or name it with --enrolment FILE"
    )


def _read_map(path: Path) -> dict[tuple[str, str], str]:
    enrolments = {}
    for words in read_lines(path):
        if len(words) != 3:
            raise DataError(f"{path}: '{' '.join(words)}' is not 'mixture_ID utterance_ID s1/mixture_ID'; correct it")
        enrolments[words[0], words[1]] = words[2].removesuffix(".wav")
    return enrolments
