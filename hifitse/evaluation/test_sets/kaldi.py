"""Lists of Kaldi's kind, ``key value ...`` a line: those of WeSep's recipes, and those of WSJ0-2mix-extr.

WeSep writes a folder of wav.scp (mixture and its sources), utt2spk (their speakers), single.wav.scp and, for each
source, spk1.enroll (the enrolment, a key of single.wav.scp or a path). WSJ0-2mix-extr (C. Xu et al., "SpEx: multi-scale
time domain speaker extraction network", IEEE/ACM TASLP 28, 2020) has a row for each target, named
``<utterance>_<snr>_<utterance>_<snr>_<enrolment>``: as folders mix/, aux/ and s1/ of files of those names, or as lists
mix*.scp, aux*.scp and ref*.scp.
"""

from pathlib import Path

from hifitse.errors import DataError
from hifitse.evaluation.test_sets.pairs import Pair, PairList
from hifitse.evaluation.test_sets.tables import read_lines


def is_wesep(folder: Path) -> bool:
    return (folder / "wav.scp").is_file() and (folder / "spk1.enroll").is_file()


def read_wesep(folder: Path) -> PairList:
    """Read a folder of WeSep's lists.

    Raises:
        DataError: a list is missing, or has no line for a mixture.
    """
    speakers = {key: names for key, *names in read_lines(folder / "utt2spk")}
    mixtures = read_lines(folder / "wav.scp")
    num_sources = max((len(words) - 2 for words in mixtures), default=0)
    single = _read_scp(folder / "single.wav.scp") if (folder / "single.wav.scp").is_file() else {}
    enrolments = [_read_scp(folder / f"spk{number + 1}.enroll") for number in range(num_sources)]
    pairs = []
    for key, mixture, *sources in mixtures:
        targets = [folder / source for source in sources]
        for number, target in enumerate(targets):
            if key not in enrolments[number] or len(speakers.get(key, ())) <= number:
                raise DataError(f"{folder}: spk{number + 1}.enroll or utt2spk has nothing for {key}; correct the lists")
            enrolled = enrolments[number][key]
            others = tuple(other for other in targets if other is not target)
            reference = folder / single.get(enrolled, enrolled)
            pairs.append(
                Pair(f"{key}/s{number + 1}", folder / mixture, reference, target, speakers[key][number], others)
            )
    return PairList(folder.absolute().name, "WeSep", folder, tuple(pairs))


def is_wsj0_extr(folder: Path) -> bool:
    return all((folder / name).is_dir() for name in ("mix", "aux", "s1")) or _wsj0_lists(folder) is not None


def read_wsj0_extr(folder: Path) -> PairList:
    """Read WSJ0-2mix-extr, from folders or from lists.

    Raises:
        DataError: a list lacks a row of another one.
    """
    if lists := _wsj0_lists(folder):
        mixtures, enrolments, targets = ({k: folder / v for k, v in _read_scp(path).items()} for path in lists)
    else:
        mixtures, enrolments, targets = (
            {path.stem: path for path in sorted((folder / name).glob("*.wav"))} for name in ("mix", "aux", "s1")
        )
    for key in mixtures:
        if key not in enrolments or key not in targets:
            raise DataError(f"{folder}: there is no enrolment or no target of {key}; complete the folder")
    # The first three characters of an utterance of WSJ0 name its speaker.
    pairs = [Pair(key, mixtures[key], enrolments[key], targets[key], key.split("_")[-1][:3]) for key in mixtures]
    return PairList(folder.absolute().name, "WSJ0-2mix-extr", folder, tuple(pairs))


def _wsj0_lists(folder: Path) -> tuple[Path, Path, Path] | None:
    found = [sorted(folder.glob(f"{kind}*.scp")) for kind in ("mix", "aux", "ref")]
    return (found[0][0], found[1][0], found[2][0]) if all(len(paths) == 1 for paths in found) else None


def _read_scp(path: Path) -> dict[str, str]:
    lines = read_lines(path)
    if wrong := next((words for words in lines if len(words) != 2), None):
        raise DataError(f"{path}: '{' '.join(wrong)}' is not 'key path'; correct it")
    return {key: value for key, value in lines}
