"""Three sets, on trees in the layouts that corpora really have: each file is a link to a bundled recording."""

import json
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path

import pytest
import torch

from hifitse.config.data import MixingConfig
from hifitse.config.files import from_data, to_data
from hifitse.config.schema import Config
from hifitse.corpus.corpus import Corpus, Pool, load_corpus
from hifitse.errors import ConfigError, DataError
from hifitse.evaluation.validation import scenes_digest
from hifitse.experiment import Experiment
from hifitse.mixing.curriculum import validation_settings
from hifitse.mixing.scenes import draw_scene
from tests.helpers import SPEECH

MakeConfig = Callable[..., Config]
_RECORDINGS = sorted(SPEECH.glob("*/*.flac"))


def tree(root: Path, names: Sequence[str]) -> Path:
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(_RECORDINGS[number % len(_RECORDINGS)])
    return root


def librispeech(root: Path) -> Path:
    """Two speakers and more in each subset, each with two chapters of two utterances."""
    subsets = {
        "train-clean-100": (19, 26, 27, 32),
        "train-other-500": (37, 38),
        "dev-clean": (84, 174, 251),
        "test-clean": (61, 121),
        "test-other": (367, 533),
    }
    return tree(
        root,
        [
            f"{subset}/{speaker}/{chapter}/{speaker}-{chapter}-000{number}.flac"
            for subset, speakers in subsets.items()
            for speaker in speakers
            for chapter in (198, 227)
            for number in range(2)
        ],
    )


def flat(root: Path, speakers: Sequence[str], utterances: int = 2) -> Path:
    return tree(root, [f"{speaker}/{speaker}_{number}.flac" for speaker in speakers for number in range(utterances)])


def numbered(prefix: str, count: int) -> list[str]:
    return [f"{prefix}{number:03}" for number in range(count)]


def names(pool: Pool | None) -> list[str]:
    assert pool is not None
    return [speaker.name for speaker in pool.speakers]


def files(pool: Pool) -> set[str]:
    return {recording.path for speaker in pool.speakers for recording in speaker.recordings}


def test_librispeech_has_its_official_sets(make_config: MakeConfig, tmp_path: Path) -> None:
    corpus = load_corpus(make_config(data={"speech": librispeech(tmp_path / "LibriSpeech"), "split": "official"}))
    assert names(corpus.train) == ["19", "26", "27", "32", "37", "38"]
    assert names(corpus.held_out) == ["174", "251", "84"]
    assert names(corpus.test) == ["121", "367", "533", "61"]
    subsets = {"train": "train-", "held_out": "dev-clean", "test": "test-"}
    assert all(f"/LibriSpeech/{subsets[name]}" in path for name, pool in corpus.pools.items() for path in files(pool))


@pytest.mark.parametrize("folders", [("train", "dev", "test"), ("Training", "valid", "testing"), ("tr", "cv", "tt")])
def test_sets_are_told_by_the_roots_or_the_folders_in_them(
    make_config: MakeConfig, tmp_path: Path, folders: tuple[str, str, str]
) -> None:
    for letter, folder in zip("abc", folders, strict=True):
        flat(tmp_path / "corpus" / folder, numbered(letter, 3))
        tree(tmp_path / "noise" / folder, [f"{letter}{number}.flac" for number in range(3)])
    for speech in (tmp_path / "corpus", [tmp_path / "corpus" / folder for folder in folders]):
        data = {"speech": speech, "noise": tmp_path / "noise", "split": "official"}
        corpus = load_corpus(make_config(data=data))
        assert [{name[0] for name in names(pool)} for pool in corpus.pools.values()] == [{"a"}, {"b"}, {"c"}]
        found = [{noise.name.split("/")[-1][0] for noise in pool.noises} for pool in corpus.pools.values()]
        assert found == [{"a"}, {"b"}, {"c"}]


def test_a_manifest_has_a_column_for_it(make_config: MakeConfig, tmp_path: Path) -> None:
    rows = [
        {"path": str(_RECORDINGS[number]), "name": f"{speaker}/{number}", "speaker": speaker, "split": split}
        for split, speakers in (("train", "abcde"), ("validation", "fgh"), ("test", "ijk"))
        for speaker in speakers
        for number in range(2)
    ]
    manifest = tmp_path / "speech.jsonl"
    manifest.write_text("\n".join(map(json.dumps, rows)))
    corpus = load_corpus(make_config(data={"speech": manifest, "split": "official"}))
    assert [names(pool) for pool in corpus.pools.values()] == [list("abcde"), list("fgh"), list("ijk")]
    assert load_corpus(make_config(data={"speech": manifest})).test is None, "only when it is asked for"
    manifest.write_text(json.dumps(rows[0] | {"split": "middle"}))
    with pytest.raises(DataError, match=r"speech\.jsonl: a/0: split 'middle' is unknown; write train, dev"):
        load_corpus(make_config(data={"speech": manifest, "split": "official"}))


def test_what_an_official_split_lacks_is_held_out(make_config: MakeConfig, tmp_path: Path) -> None:
    root = flat(tmp_path / "r" / "train", numbered("a", 12)).parent
    flat(root / "test", numbered("b", 3))
    flat(root / "notes", ["x"])
    corpus = load_corpus(make_config(data={"speech": root, "split": "official"}))
    assert {name[0] for name in names(corpus.train) + names(corpus.held_out)} == {"a"}
    assert len(names(corpus.train)) == 9 and names(corpus.test) == numbered("b", 3)
    assert any("recordings of r that are of no set left out: notes/x" in note for note in corpus.notes)
    with pytest.raises(ConfigError, match=r"data\.split: official: .*plain: no folder.* is called train, dev"):
        load_corpus(make_config(data={"speech": flat(tmp_path / "plain", numbered("a", 8)), "split": "official"}))


def test_folders_of_an_official_split_are_not_taken_for_speakers_in_silence(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    corpus = load_corpus(make_config(data={"speech": librispeech(tmp_path / "LibriSpeech")}))
    assert any("folders of LibriSpeech taken for speakers (data.split: official" in note for note in corpus.notes)


def test_sections_name_corpora_of_their_own(make_config: MakeConfig, tmp_path: Path) -> None:
    own = {
        name: {
            "speech": flat(tmp_path / name / "speech", numbered(name[0], 4)),
            "noise": tree(tmp_path / name / "noise", [f"{name}.flac"]),
            "rir": tree(tmp_path / name / "rir", [f"{name}.flac"]),
        }
        for name in ("validation", "test")
    }
    data = flat(tmp_path / "data", numbered("d", 8))
    validation, test = own["validation"], own["test"]
    corpus = load_corpus(make_config(data={"speech": data}, validation=validation, test=test))
    assert [names(pool) for pool in corpus.pools.values()] == [numbered("d", 8), numbered("v", 4), numbered("t", 4)]
    assert [len(pool.noises) for pool in corpus.pools.values()][1:] == [1, 1]
    assert [pool.rirs[0].name for pool in corpus.pools.values()][1:] == ["validation.flac", "test.flac"]

    corpus = load_corpus(make_config(data={"speech": data}, test={"speech": test["speech"]}))
    alone = load_corpus(make_config(data={"speech": data}))
    assert (corpus.train, corpus.held_out) == (alone.train, alone.held_out), "a test of its own changes nothing else"
    assert corpus.fingerprint == alone.fingerprint and alone.test is None
    assert corpus.test and corpus.test.noises == corpus.held_out.noises, "which the training does not hear either"


def test_a_test_without_corpora_is_held_out_by_speaker(make_config: MakeConfig, tmp_path: Path) -> None:
    root = flat(tmp_path / "root", numbered("s", 100))
    two, three = (load_corpus(make_config(data={"speech": root}, **more)) for more in ({}, {"test": {}}))
    assert [len(pool.speakers) for pool in two.pools.values()] == [80, 20]
    assert [len(pool.speakers) for pool in three.pools.values()] == [60, 20, 20]
    assert two.held_out == three.held_out, "a test set changes nothing in the validation"
    assert all(not files(a) & files(b) for a, b in combinations(three.pools.values(), 2))
    with pytest.raises(ConfigError, match=r"test: 8 speakers are too few to hold 3 out for validation and test"):
        load_corpus(make_config(data={"speech": flat(tmp_path / "few", numbered("s", 8))}, test={}))


@pytest.mark.parametrize(
    ("fraction", "fewest", "held_out"), [(0.05, 20, 20), (0.3, 20, 30), (0.05, 0, 5), (0.05, 40, 25)]
)
def test_enough_speakers_are_held_out(
    make_config: MakeConfig, tmp_path: Path, fraction: float, fewest: int, held_out: int
) -> None:
    root = flat(tmp_path / "root", numbered("s", 100))
    data = {"speech": root, "held_out_fraction": fraction, "min_held_out_speakers": fewest}
    corpus = load_corpus(make_config(data=data))
    assert len(corpus.held_out.speakers) == held_out
    assert any("data.min_held_out_speakers" in note for note in corpus.notes) == (held_out < fewest)


def test_nobody_is_in_two_sets(make_config: MakeConfig, tmp_path: Path) -> None:
    train, test = flat(tmp_path / "vctk", numbered("p", 10)), flat(tmp_path / "ears", [*numbered("p", 2), "q1", "q2"])
    apart = flat(tmp_path / "apart", numbered("x", 4))

    def load(speech: object, same: object, test: object = test) -> Corpus:
        return load_corpus(make_config(data={"speech": speech, "same_speakers": same}, test={"speech": test}))

    problem = r"test: 2 of its speakers are in the train set, too: p000, p001; leave them out of one"
    with pytest.raises(ConfigError, match=problem + r"; set data\.same_speakers: \[\] if they only have equal names"):
        load(train, None)
    assert names(load(train, []).test) == ["p000", "p001", "q1", "q2"]
    with pytest.raises(ConfigError, match=r"test: 1 of its speakers .*: p000; leave them out of one$"):
        load(train, [["p000"]])
    with pytest.raises(ConfigError, match=r"test: 1 of its speakers .*: x001; leave"):
        load(train, [["p003", "x001"]], apart)
    with pytest.raises(
        ConfigError, match=r"test: 4 of its speakers are in the train set, too: x000, x001, x002, 1 more"
    ):
        load(apart, [], apart)
    official = flat(flat(tmp_path / "r" / "train", numbered("a", 5)).parent / "test", ["a001", "b", "c"]).parent
    with pytest.raises(ConfigError, match=r"test: 1 of its speakers are in the train set, too: a001"):
        load_corpus(make_config(data={"speech": official, "split": "official", "same_speakers": []}))


def test_one_person_in_two_corpora_is_one_speaker(make_config: MakeConfig, tmp_path: Path) -> None:
    roots = [flat(tmp_path / "one", numbered("s", 12)), flat(tmp_path / "two", ["s000", "s001", "other"])]
    apart = load_corpus(make_config(data={"speech": roots}))
    assert any("named alike" in note and "one/s000, two/s000" in note for note in apart.notes)
    same = [["one/s000", "two/s000"], ["s005", "other"]]
    corpus = load_corpus(make_config(data={"speech": roots, "same_speakers": same}))
    speakers = {speaker.name: speaker for speaker in corpus.train.speakers + corpus.held_out.speakers}
    assert len(speakers) == 13 and not {"two/s000", "other"} & speakers.keys()
    assert [recording.name for recording in speakers["s005"].recordings] == [
        *("s005/s005_0.flac", "s005/s005_1.flac"),
        *("other/other_0.flac", "other/other_1.flac"),
    ]
    assert not any("named alike" in note for note in corpus.notes)
    for groups, problem in (
        ([["s005", "who"]], "who: no such speaker"),
        ([["s005"], ["s006", "s005"]], "in two groups"),
    ):
        with pytest.raises(ConfigError, match=rf"data\.same_speakers: .*{problem}"):
            load_corpus(make_config(data={"speech": roots, "same_speakers": groups}))


def sessions_of(config: Config) -> list[tuple[str, str]]:
    """Return the folders of target and reference, of 200 scenes."""
    corpus = load_corpus(config)
    settings = validation_settings(config)
    scenes = [draw_scene(0, "t", index, settings, corpus.train, config.audio) for index in range(200)]
    voices = [(scene.target, scene.reference.voice) for scene in scenes if scene.target]
    assert all(target.recording != reference.recording for target, reference in voices)
    return [(str(Path(a.recording.name).parent), str(Path(b.recording.name).parent)) for a, b in voices]


def test_a_reference_is_from_another_chapter_or_video(make_config: MakeConfig, tmp_path: Path) -> None:
    videos = [(f"id{s:05}", video) for s in range(8) for video in ("3VyEXpTBuN4", "5ablueV_1tw", "_IYVzYbEpDI")]
    root = tree(
        tmp_path / "vox", [f"{who}/{video}/0000{n}.wav" for who, video in videos for n in range(1 + len(who) % 3)]
    )
    for speech, split in ((librispeech(tmp_path / "LibriSpeech"), "official"), (root, "auto")):
        sections = {"data": {"speech": speech, "split": split}}
        assert all(target != reference for target, reference in sessions_of(make_config(**sections)))
        shared = sessions_of(make_config(**sections, mixing={"reference_from": "other_recording"}))
        assert any(target == reference for target, reference in shared)


def test_a_speaker_with_one_chapter_falls_back_and_is_told(make_config: MakeConfig, tmp_path: Path) -> None:
    chapters = {"1": ("a", "b"), "2": ("a",), "3": ("a", "b"), "4": ("a", "b"), "5": ("mic1", "mic2")}
    root = tree(
        tmp_path / "r", [f"{who}/{c}/{n}.flac" for who, found in chapters.items() for c in found for n in range(4)]
    )
    config = make_config(data={"speech": root, "split": "utterance", "held_out_fraction": 0.1})
    assert ("2/a", "2/a") in sessions_of(config)
    told = [note for note in load_corpus(config).notes if note.startswith("mixing.reference_from")]
    assert told == [
        "mixing.reference_from: 1 speakers have a single chapter, video or folder, so that references share it with "
        "targets: 2"
    ]


def test_chapters_in_names_of_dns(make_config: MakeConfig, tmp_path: Path) -> None:
    files = [f"book_0{b}_chp_0009_reader_0670{s}_{n}_seg_1.wav" for s in range(6) for b in range(2) for n in range(2)]
    corpus = load_corpus(make_config(data={"speech": tree(tmp_path / "read_speech", files)}))
    assert {speaker.sessions for speaker in corpus.train.speakers} == {(0, 0, 1, 1)}


def test_a_run_of_before_keeps_its_split_and_scenes(make_config: MakeConfig, tmp_path: Path) -> None:
    root = librispeech(tmp_path / "LibriSpeech" / "train-clean-100")
    today = make_config(
        data={"speech": tree(root, [f"{s}/1/{c}/{n}.flac" for s in range(30) for c in "ab" for n in "cd"])}
    )
    record = to_data(today)
    for section, key in (("data", "min_held_out_speakers"), ("data", "same_speakers"), ("mixing", "reference_from")):
        del record[section][key]
    for key in ("speech", "noise", "rir"):
        del record["validation"][key]
    del record["test"]
    before = from_data(record, "config.yaml")
    assert (before.data.min_held_out_speakers, before.mixing.reference_from) == (0, "other_recording")
    assert from_data(to_data(before), "config.yaml") == before
    assert from_data(record, "c", ["data.min_held_out_speakers=20"]).data.min_held_out_speakers == 20
    cpu = torch.device("cpu")
    assert scenes_digest(Experiment.build(before, cpu)) != scenes_digest(Experiment.build(today, cpu))
    assert MixingConfig(speeds=(1.0,)).reference_from == "other_session", (
        "who writes some settings means today's others"
    )


def test_an_experiment_gives_the_scenes_of_its_test(make_config: MakeConfig, tmp_path: Path) -> None:
    root = flat(tmp_path / "root", numbered("s", 40))
    test = {"num_scenes": 6, "absent_ratio": 0.5}
    experiment = Experiment.build(make_config(data={"speech": root}, test=test), torch.device("cpu"))
    batches = list(experiment.test_batches())
    assert [index for batch in batches for index in batch.indices] == list(range(6)) and batches[-1].is_last
    assert [is_present for batch in batches for is_present in batch.present.tolist()] == [True, False] * 3
    again = list(experiment.test_batches())
    assert all(torch.equal(a.mixture, b.mixture) for a, b in zip(batches, again, strict=True))
    first = next(iter(experiment.validation_batches()))
    assert not torch.equal(first.mixture[0], batches[0].mixture[0])
    with pytest.raises(ConfigError, match=r"test: there is no test set; name corpora in test\.speech"):
        Experiment.build(make_config(data={"speech": root}), torch.device("cpu")).test_batches()
