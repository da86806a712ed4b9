"""Published layouts are read as their authors meant them, wherever they lie."""

from pathlib import Path

import pytest

from hifitse.errors import DataError, UsageError
from hifitse.evaluation.test_sets.pairs import Pair, PairList, probe
from hifitse.evaluation.test_sets.reading import read_pairs
from tests.evaluation.layouts import make_csv, make_librimix, voice, write


def relative(path: Path | None, root: Path) -> str:
    return "" if path is None else path.relative_to(root).as_posix()


def test_librimix_scores_each_source_with_the_enrolment_of_the_map(tmp_path: Path) -> None:
    metadata = make_librimix(tmp_path, num_mixtures=4)
    found = read_pairs(metadata.parent)
    assert found == read_pairs(metadata)
    assert (found.name, found.layout, len(found.pairs)) == ("test_mix_clean", "Libri2Mix", 8)
    first, second = found.pairs[:2]
    mixture_id, root = "1089-134686-0000_2300-134686-0000", metadata.parents[1]
    assert first.name == f"{mixture_id}/1089-134686-0000"
    assert (first.speaker, second.speaker) == ("1089", "2300")
    assert relative(first.mixture, root) == f"test/mix_clean/{mixture_id}.wav" and first.mixture == second.mixture
    assert relative(first.target, root) == f"test/s1/{mixture_id}.wav"
    assert first.interferers == (second.target,) and second.interferers == (first.target,)
    enrolments = dict(
        zip(
            ("mixture", "target", "enrolment"),
            (metadata.parent / "map_mixture2enrollment").read_text().split()[:3],
            strict=True,
        )
    )
    assert relative(first.reference, root) == f"test/{enrolments['enrolment']}.wav"
    assert first.reference not in (first.target, second.target), "the reference is of another mixture"


def test_librimix_of_three_sources_has_three_pairs_a_mixture(tmp_path: Path) -> None:
    root = tmp_path / "wav8k/min"
    ids = ["1089-1-0001_2300-1-0001_4077-1-0001", "1089-1-0002_2300-1-0002_4077-1-0002"]
    samples = voice(0, 0, 8000)
    for folder in ("mix_clean", "s1", "s2", "s3"):
        for name in ids:
            write(root / "test" / folder / f"{name}.wav", samples, 8000)
    columns = ["mix_clean", "s1", "s2", "s3"]
    rows = [",".join([name, *(f"/x/test/{folder}/{name}.wav" for folder in columns), "9.0"]) for name in ids]
    header = "mixture_ID,mixture_path,source_1_path,source_2_path,source_3_path,length"
    (root / "metadata").mkdir()
    (root / "metadata" / "mixture_test_mix_clean.csv").write_text("\n".join([header, *rows]))
    lines = [
        f"{name} {name.split('_')[place]} s{place + 1}/{ids[1 - n]}" for n, name in enumerate(ids) for place in range(3)
    ]
    # Beside the audio of the subset is as good.
    (root / "test" / "map_mixture2enrollment_3spk").write_text("\n".join(lines))
    found = read_pairs(root / "metadata")
    assert (found.layout, len(found.pairs)) == ("Libri3Mix", 6)
    assert [len(pair.interferers) for pair in found.pairs] == [2] * 6
    assert probe(found).sample_rate == 8000


def test_the_digest_goes_with_the_list_and_not_with_its_place(tmp_path: Path) -> None:
    one, other, fewer = (tmp_path / name for name in ("one", "deep/er", "fewer"))
    digests = [probe(read_pairs(make_librimix(folder))).digest for folder in (one, other)]
    assert digests[0] == digests[1]
    assert probe(read_pairs(make_librimix(fewer, num_mixtures=3 + 2))).digest != digests[0]
    assert probe(read_pairs(make_librimix(tmp_path / "low", sample_rate=8000))).digest != digests[0]


def test_a_list_of_ones_own_may_have_absent_speakers(tmp_path: Path) -> None:
    found = read_pairs(make_csv(tmp_path))
    assert [pair.target is None for pair in found.pairs] == [False, False, True]
    assert [pair.speaker for pair in found.pairs] == ["voice0", "voice1", "voice2"]
    assert [len(pair.interferers) for pair in found.pairs] == [1, 1, 1]
    (tmp_path / "plain.csv").write_text(
        "mixture,reference,target\n" + "audio/0_mixture.wav,audio/0_reference.wav,audio/0_target.wav\n"
    )
    (plain,) = read_pairs(tmp_path / "plain.csv").pairs
    assert plain == Pair(
        "audio/0_mixture.wav",
        *(tmp_path / f"audio/0_{part}.wav" for part in ("mixture", "reference", "target")),
        "audio/0_reference.wav",
    )


def test_weseps_lists(tmp_path: Path) -> None:
    metadata = make_librimix(tmp_path, sample_rate=8000)
    published, folder = read_pairs(metadata), tmp_path / "data/clean/test"
    folder.mkdir(parents=True)
    lists: dict[str, set[str]] = {
        name: set() for name in ("wav.scp", "utt2spk", "single.wav.scp", "spk1.enroll", "spk2.enroll")
    }
    for one, other in zip(published.pairs[::2], published.pairs[1::2], strict=True):
        key = one.mixture.stem
        lists["wav.scp"].add(f"{key} {one.mixture} {one.target} {other.target}")
        lists["utt2spk"].add(f"{key} {one.speaker} {other.speaker}")
        for number, pair in enumerate((one, other), 1):
            lists["single.wav.scp"].add(f"s{number}/{key}.wav {pair.target}")
            lists[f"spk{number}.enroll"].add(f"{key} {'/'.join(pair.reference.parts[-2:])}")
    for name, lines in lists.items():
        (folder / name).write_text("\n".join(sorted(lines)) + "\n")
    found = read_pairs(folder)

    def essence(pairs: PairList) -> set[tuple[object, ...]]:
        return {(p.mixture, p.reference, p.target, p.speaker, p.interferers) for p in pairs.pairs}

    assert essence(found) == essence(published)
    (folder / "spk2.enroll").write_text("")
    with pytest.raises(DataError, match=r"spk2\.enroll or utt2spk has nothing for"):
        read_pairs(folder)


@pytest.mark.parametrize("as_lists", [False, True])
def test_wsj0_2mix_extr(tmp_path: Path, as_lists: bool) -> None:
    keys = ["050a0501_1.9857_442o030z_-1.9857_050c010s", "050a0501_1.9857_442o030z_-1.9857_442c020b"]
    kinds = {"mix": "mix", "aux": "aux", "s1": "ref"}
    for kind in kinds:
        for key in keys:
            write(tmp_path / "tt" / kind / f"{key}.wav", voice(0, 0, 8000), 8000)
    folder = tmp_path / "tt"
    if as_lists:
        folder = tmp_path / "lists"
        folder.mkdir()
        for kind, name in kinds.items():
            lines = [f"{key} {tmp_path}/tt/{kind}/{key}.wav" for key in keys]
            (folder / f"{name}.scp").write_text("\n".join(lines))
    found = read_pairs(folder)
    assert found.layout == "WSJ0-2mix-extr"
    assert [pair.speaker for pair in found.pairs] == ["050", "442"]
    assert [pair.reference.parts[-2:] for pair in found.pairs] == [("aux", f"{key}.wav") for key in keys]
    assert [pair.target.parts[-2] for pair in found.pairs if pair.target] == ["s1", "s1"]


def test_what_is_wrong_is_told_with_its_remedy(tmp_path: Path) -> None:
    metadata = make_librimix(tmp_path)
    own = make_csv(tmp_path / "own")
    mapped = metadata.parent / "map_mixture2enrollment"
    lines = mapped.read_text().splitlines()

    def fails(error: type[Exception], words: str, path: Path = metadata, enrolment: Path | None = None) -> None:
        with pytest.raises(error, match=words):
            probe(read_pairs(path, enrolment))

    fails(UsageError, "no such file or folder; give a CSV file", tmp_path / "none")
    fails(UsageError, "is no test set that is known", tmp_path)
    fails(UsageError, "leave it out", own, mapped)
    mapped.write_text("\n".join(lines[1:]))
    fails(DataError, "has no line for 1089-134686-0000_2300-134686-0000 1089-134686-0000")
    mapped.write_text("a b\n")
    fails(DataError, "is not 'mixture_ID utterance_ID s1/mixture_ID'")
    mapped.rename(tmp_path / "elsewhere")
    fails(UsageError, "--enrolment FILE")
    (tmp_path / "elsewhere").write_text("\n".join(lines))
    assert len(read_pairs(metadata, tmp_path / "elsewhere").pairs) == 8
    (metadata.parent / "mixture_dev_mix_clean.csv").write_text(metadata.read_text())
    fails(UsageError, r"holds mixture_dev_mix_clean\.csv, mixture_test_mix_clean\.csv; name one", metadata.parent)
    moved = metadata.rename(tmp_path / "mixture.csv")
    fails(DataError, "put the metadata back into LibriMix's tree", moved, tmp_path / "elsewhere")

    text = own.read_text()
    for old, new, words in (
        ("target,", "clean,", "has no column target"),
        ("interferer", "loud", "unknown column 'loud'"),
        ("audio/0_mixture.wav", "", "row 2 has no mixture"),
        ("audio/0_mixture.wav", "audio/1_mixture.wav", "frames at 8000 Hz, but its mixture"),
        ("audio/0_target.wav", "audio/none.wav", "no such audio file"),
        (",voice0", "", "row 2 has 4 fields, the header 5"),
    ):
        own.write_text(text.replace(old, new))
        fails(DataError, words, own)
    own.write_text(text.splitlines()[0])
    fails(DataError, "holds no mixtures", own)
    own.write_text(text)
    for name in ("mixture", "target", "interferer"):
        write(own.parent / f"audio/1_{name}.wav", voice(0, 0, 16000), 16000)
    fails(DataError, "has 16000 Hz, the mixtures before it 8000 Hz", own)
