import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from hifitse.audio.files import probe_audio, read_audio
from hifitse.audio.header_cache import cache_folder
from hifitse.audio.recording import Recording
from hifitse.config.data import DataConfig
from hifitse.config.schema import Config
from hifitse.corpus.corpus import Corpus, Pool, load_corpus
from hifitse.corpus.split import split_speech
from hifitse.errors import ConfigError, DataError

MakeConfig = Callable[..., Config]


@pytest.fixture
def utterances(demo_corpus: Path) -> list[Path]:
    return sorted((demo_corpus / "speech").glob("*/*.flac"))


def grow(root: Path, names: Sequence[str], utterances: Sequence[Path]) -> Path:
    """Make a tree of the given relative paths, each a link to a real utterance."""
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(utterances[number % len(utterances)])
    return root


def speakers_of(pool: Pool) -> dict[str, list[str]]:
    return {speaker.name: [recording.name for recording in speaker.recordings] for speaker in pool.speakers}


def everything(corpus: Corpus) -> dict[str, list[str]]:
    train, held_out = speakers_of(corpus.train), speakers_of(corpus.held_out)
    return {name: sorted(train.get(name, []) + held_out.get(name, [])) for name in sorted(train | held_out)}


def numbered(speakers: int, utterances: int) -> list[str]:
    return [f"s{s:02}/u{u}.flac" for s in range(speakers) for u in range(utterances)]


def test_the_bundled_corpus_is_split_by_utterance(make_config: MakeConfig, demo_corpus: Path) -> None:
    corpus = load_corpus(make_config())
    train, held_out = speakers_of(corpus.train), speakers_of(corpus.held_out)
    assert list(train) == list(held_out) == ["allison", "carlo_it", "ivrvoice_ru", "june_fr"]
    assert all(not set(train[name]) & set(held_out[name]) for name in train)
    assert all(len(names) >= 2 for names in held_out.values())
    assert sum(map(len, everything(corpus).values())) == len(list((demo_corpus / "speech").glob("*/*")))
    assert corpus.train.noises == corpus.held_out.noises
    assert len(corpus.train.noises) == len(list((demo_corpus / "noise").iterdir()))
    assert corpus.train.rirs == corpus.held_out.rirs and len(corpus.train.rirs) == 2
    assert [note.split(":")[0] for note in corpus.notes] == ["data.split", "data.noise", "data.rir"]


def test_enough_speakers_are_split_by_speaker(make_config: MakeConfig, tmp_path: Path, utterances: list[Path]) -> None:
    root = grow(tmp_path / "root", numbered(20, 2), utterances)
    corpus = load_corpus(make_config(data={"speech": root}))
    train, held_out = speakers_of(corpus.train), speakers_of(corpus.held_out)
    assert not set(train) & set(held_out)
    assert len(held_out) == 5, "a quarter, since 20 are wanted"
    assert len(train) == 15
    assert any("data.min_held_out_speakers: 5 of 20 speakers" in note for note in corpus.notes)
    few = load_corpus(make_config(data={"speech": root, "min_held_out_speakers": 0}))
    assert len(few.held_out.speakers) == 3, "two interferers and a target"
    assert {s.name for s in few.held_out.speakers} < {s.name for s in corpus.held_out.speakers}
    assert load_corpus(make_config(data={"speech": root}, seed=7)) == corpus, "the split is not a matter of the seed"


def test_a_new_speaker_moves_few_others() -> None:
    data = DataConfig(speech=("r",), split="speaker", held_out_fraction=0.1, min_held_out_speakers=0)

    def held_out(count: int) -> set[str]:
        speakers = {f"s{n}": [Recording("", "a", 8000, 1), Recording("", "b", 8000, 1)] for n in range(count)}
        return set(split_speech(speakers, ["validation"], data, 2, [])["validation"])

    for count in range(50, 80):
        assert len(held_out(count) - held_out(count + 1)) <= 1


def test_vctk_and_librispeech_trees(make_config: MakeConfig, tmp_path: Path, utterances: list[Path]) -> None:
    names = [f"p{s}/p{s}_00{u}_mic{mic}.flac" for s in (225, 226, 227) for u in range(4) for mic in (1, 2)]
    names += [f"19/198/19-198-000{u}.FLAC" for u in range(2)] + [f"19/227/19-227-000{u}.flac" for u in range(2)]
    corpus = load_corpus(make_config(data={"speech": grow(tmp_path / "r", names, utterances)}))
    found = everything(corpus)
    assert sorted(found) == ["19", "p225", "p226", "p227"]
    assert all(len(names) == 4 for names in found.values())
    assert not any("mic2" in name for names in found.values() for name in names)


def test_a_flat_dns_tree(make_config: MakeConfig, tmp_path: Path, utterances: list[Path]) -> None:
    names = [f"book_0{u}_chp_0009_reader_0670{s}_{u}_seg_1.wav" for s in range(3) for u in range(4)]
    root = grow(tmp_path / "read_speech", [*names, "stray.wav"], utterances)
    corpus = load_corpus(make_config(data={"speech": root}))
    assert sorted(everything(corpus)) == ["reader_06700", "reader_06701", "reader_06702"]
    assert any("stray.wav" in note for note in corpus.notes)


def test_a_manifest_is_relative_to_itself(make_config: MakeConfig, demo_corpus: Path, utterances: list[Path]) -> None:
    config = make_config()
    whole = load_corpus(config)
    # Written next to nothing: paths are absolute here, and relative below.
    rows = [{"path": str(path), "speaker": path.parent.name, "seconds": 1.0} for path in utterances]
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    manifest = cache / "speech.jsonl"
    manifest.write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    corpus = load_corpus(make_config(data={"speech": manifest}))
    assert sorted(everything(corpus)) == sorted(everything(whole))
    (cache / "speech").symlink_to(demo_corpus / "speech")
    rows = [row | {"path": str(Path(row["path"]).relative_to(demo_corpus))} for row in rows]  # type: ignore[arg-type]
    manifest.write_text("\n".join(map(json.dumps, rows)))
    corpus = load_corpus(make_config(data={"speech": manifest}))
    assert corpus.train.speakers[0].recordings[0].name.startswith("speech/allison/")
    assert Path(corpus.train.speakers[0].recordings[0].path).is_file()


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "Invalid JSON"),
        ("[]", "write one object a line"),
        ("[" * 100_000, "Invalid JSON: recursion limit"),
        ('{"speaker": "a"}', "path: Field required"),
        ('{"path": ""}', "path: "),
        ('{"path": "a.wav", "speaker": 3}', "speaker: Input should be a valid string"),
        ('{"path": "a\\u0000.wav"}', "has a NUL"),
        ('{"path": "\\ud800.wav"}', "Invalid JSON"),
        ('{"path": "x.wav", "speaker": "a"}', "already listed"),
    ],
)
def test_a_wrong_line_is_numbered(make_config: MakeConfig, tmp_path: Path, line: str, problem: str) -> None:
    manifest = tmp_path / "m.jsonl"
    manifest.write_text('{"path": "x.wav", "speaker": "a"}\n' + line)
    with pytest.raises(DataError, match=problem) as caught:
        load_corpus(make_config(data={"speech": manifest}))
    assert str(caught.value).startswith(f"{manifest}:2: ")


def test_equal_names_in_two_roots_are_two_people(
    make_config: MakeConfig, tmp_path: Path, utterances: list[Path]
) -> None:
    first = grow(tmp_path / "a" / "vctk", ["s1/1.wav", "s1/2.wav", "s2/1.wav", "s2/2.wav"] + numbered(6, 2), utterances)
    second = grow(tmp_path / "b" / "vctk", ["s1/1.wav", "s1/2.wav", "s3/1.wav", "s3/2.wav"], utterances)
    found = everything(load_corpus(make_config(data={"speech": [first, second]})))
    assert {"s2", "s3", "vctk/s1", "vctk-2/s1"} <= set(found) and "s1" not in found


def test_unusable_files_are_left_out_by_name(make_config: MakeConfig, tmp_path: Path, utterances: list[Path]) -> None:
    root = grow(tmp_path / "root", numbered(8, 3), utterances)
    (root / "s00" / "zz_broken.wav").write_bytes(b"RIFF")
    sf.write(root / "s00" / "zz_empty.wav", np.zeros(0), 8000)
    (root / "s01" / "dangling.wav").symlink_to(tmp_path / "nowhere")
    grow(root, ["lonely/1.wav"], utterances)
    corpus = load_corpus(make_config(data={"speech": root}))
    assert len(everything(corpus)) == 8
    notes = "\n".join(corpus.notes)
    for name in ("zz_broken.wav", "zz_empty.wav", "dangling.wav", "lonely"):
        assert name in notes


def test_nothing_usable_is_an_error(make_config: MakeConfig, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken" / "a").mkdir(parents=True)
    (tmp_path / "broken" / "a" / "1.wav").write_bytes(b"RIFF")
    (tmp_path / "file.txt").touch()
    for data, problem in [
        ({"speech": tmp_path / "absent"}, r"data\.speech: .*absent: no such folder"),
        ({"speech": tmp_path / "empty"}, r"data\.speech: .*empty: no usable recording"),
        ({"speech": tmp_path / "broken"}, r"data\.speech: .*no usable recording \(1 unusable, first: .*1\.wav"),
        ({"speech": tmp_path / "file.txt"}, r"data\.speech: .*neither a folder nor"),
        ({"noise": tmp_path / "empty"}, r"data\.noise: .*no usable recording"),
        ({"rir": tmp_path / "absent"}, r"data\.rir: .*no such folder"),
    ]:
        with pytest.raises(ConfigError, match=problem) as caught:
            load_corpus(make_config(data=data))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("names", "split", "problem"),
    [
        (numbered(1, 9), "auto", r"data\.speech: .* need 3 speakers .* found 1 \(s00\); lower mixing\.num_interferers"),
        (numbered(3, 3), "auto", r"need 3 speakers with 4 recordings each .* found 0"),
        (numbered(5, 9), "speaker", r"data\.split: speaker: .* leaves 2 for training, and 3 are needed"),
        (numbered(4, 1), "auto", r"data\.speech: .* found 0"),
    ],
)
def test_too_few_speakers(
    make_config: MakeConfig, tmp_path: Path, utterances: list[Path], names: list[str], split: str, problem: str
) -> None:
    root = grow(tmp_path / "root", names, utterances)
    with pytest.raises(ConfigError, match=problem):
        load_corpus(make_config(data={"speech": root, "split": split}))


def test_headers_are_read_once_and_again_after_a_change(
    make_config: MakeConfig,
    tmp_path: Path,
    utterances: list[Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root = tmp_path / "root"
    for name, source in zip(numbered(4, 4), utterances, strict=False):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, root / name)
    probed: list[str] = []
    probe = probe_audio
    monkeypatch.setattr("hifitse.corpus.scan.probe_audio", lambda path: probed.append(Path(path).name) or probe(path))
    data = {"speech": root, "noise": (), "rir": ()}
    first = load_corpus(make_config(data=data))
    assert len(probed) == 16
    assert load_corpus(make_config(data=data)) == first
    assert len(probed) == 16
    shutil.copy(utterances[40], root / "s00" / "u0.flac")
    os.utime(root / "s00" / "u0.flac", ns=(1, 1))
    second = load_corpus(make_config(data=data))
    assert probed[16:] == ["u0.flac"]
    assert second.fingerprint != first.fingerprint
    for path in cache_folder().iterdir():
        path.write_text("{broken")
    assert load_corpus(make_config(data=data)) == second


def test_a_cache_that_cannot_be_written_is_no_error(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert load_corpus(make_config()).train.speakers


def test_the_fingerprint_does_not_know_where_the_files_are(
    make_config: MakeConfig, tmp_path: Path, demo_corpus: Path
) -> None:
    shutil.copytree(demo_corpus, tmp_path / "moved")
    moved = load_corpus(make_config(data={name: tmp_path / "moved" / name for name in ("speech", "noise", "rir")}))
    here = load_corpus(make_config())
    assert moved.fingerprint == here.fingerprint
    assert everything(moved) == everything(here)
    assert speakers_of(moved.held_out) == speakers_of(here.held_out)
    (tmp_path / "moved" / "noise" / "uh_windmill.flac").unlink()
    fewer = load_corpus(make_config(data={"noise": tmp_path / "moved" / "noise"}))
    assert fewer.fingerprint != here.fingerprint


def test_progress_ends_at_the_total(make_config: MakeConfig) -> None:
    reported: list[tuple[int, int, str]] = []
    load_corpus(make_config(), progress=lambda done, total, what: reported.append((done, total, what)))
    assert [done for done, total, _ in reported if done == total] == [120, 9, 2]
    assert reported[0][2] == "reading headers in speech"


def test_a_link_back_to_a_folder_above_is_not_followed(
    make_config: MakeConfig, tmp_path: Path, utterances: list[Path]
) -> None:
    root = grow(tmp_path / "root", numbered(4, 4), utterances)
    (root / "s00" / "loop").symlink_to(root)
    assert sum(map(len, everything(load_corpus(make_config(data={"speech": root}))).values())) == 16


def test_rooms_are_simulated_once(make_config: MakeConfig, cache_home: Path) -> None:
    data = {"rir": (), "simulated_rooms": {"num_rooms": 6, "rt60_seconds": (0.2, 0.3), "size_meters": (3, 4)}}
    corpus = load_corpus(make_config(data=data))
    assert [len(room.positions) for room in corpus.train.rooms + corpus.held_out.rooms] == [4] * 6
    assert len(corpus.held_out.rooms) == 1
    assert not {room.name for room in corpus.train.rooms} & {room.name for room in corpus.held_out.rooms}
    rirs = corpus.train.rirs + corpus.held_out.rirs
    heard = [read_audio(rir.path, 8000) for rir in rirs]
    assert len({response[:2000].tobytes() for response in heard}) == 24, "each position has a response of its own"
    for rir in rirs:
        response = read_audio(rir.path, 8000)
        assert 0.2 < len(response) / 8000 < 0.5
        energy = np.cumsum(response[::-1].astype(float) ** 2)[::-1]
        decay_db = 10 * np.log10(energy / energy[0])
        # T20, extrapolated: the simulated room has about the reverberation time that was asked for.
        seconds = 3 * (np.argmax(decay_db < -25) - np.argmax(decay_db < -5)) / 8000
        assert 0.1 < seconds < 0.5
    written = {path: path.stat().st_mtime_ns for path in cache_home.rglob("*.wav")}
    assert load_corpus(make_config(data=data)) == corpus
    assert {path: path.stat().st_mtime_ns for path in cache_home.rglob("*.wav")} == written
    assert not list(cache_home.rglob("*.tmp"))


def test_impossible_rooms_are_refused(make_config: MakeConfig) -> None:
    for rooms in ({"rt60_seconds": (0.01, 0.02)}, {"size_meters": (0.5, 3.0), "rt60_seconds": (0.1, 0.2)}):
        with pytest.raises(ConfigError, match=r"data\.simulated_rooms: "):
            load_corpus(make_config(data={"rir": (), "simulated_rooms": rooms}))


def test_many_noise_files_are_split_and_few_are_shared(
    make_config: MakeConfig, tmp_path: Path, demo_corpus: Path
) -> None:
    clip = next((demo_corpus / "noise").iterdir())
    for number in range(20):
        (tmp_path / f"{number:02}.flac").symlink_to(clip)
    corpus = load_corpus(make_config(data={"noise": tmp_path}))
    train, held_out = ({noise.name for noise in pool.noises} for pool in (corpus.train, corpus.held_out))
    assert len(train) == 19 and len(held_out) == 1 and not train & held_out
    (tmp_path / "00.flac").unlink()
    corpus = load_corpus(make_config(data={"noise": tmp_path}))
    assert corpus.train.noises == corpus.held_out.noises


def write_noise(path: Path, seconds: float = 0.1, rate: int = 8000, channels: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, np.random.default_rng(0).uniform(-0.1, 0.1, (round(seconds * rate), channels)), rate)


def test_sibling_channels_of_a_noise_are_on_one_side(make_config: MakeConfig, tmp_path: Path) -> None:
    for session in range(12):
        for channel in range(1, 5):
            write_noise(tmp_path / "demand" / f"ROOM{session}" / f"ch{channel:02}.wav")
            write_noise(tmp_path / "chime" / f"street_{session}.CH{channel}.wav")
    corpus = load_corpus(make_config(data={"noise": [tmp_path / "demand", tmp_path / "chime"]}))
    train, held_out = (
        {noise.name.rpartition("/ch")[0] or noise.name.rpartition(".CH")[0] for noise in pool.noises}
        for pool in (corpus.train, corpus.held_out)
    )
    assert len(train) == 23 and len(held_out) == 1 and not train & held_out
    assert len(corpus.held_out.noises) == 4
    again = load_corpus(make_config(data={"noise": [tmp_path / "demand", tmp_path / "chime"]}, seed=9))
    assert again.held_out.noises == corpus.held_out.noises


def test_positions_of_a_room_are_on_one_side(make_config: MakeConfig, tmp_path: Path) -> None:
    for room in range(8):
        for position in range(5):
            write_noise(tmp_path / "rirs" / f"Room{room:03}" / f"Room{room:03}-{position:05}.wav")
    corpus = load_corpus(make_config(data={"rir": tmp_path / "rirs"}))
    assert [len(room.positions) for room in corpus.train.rooms + corpus.held_out.rooms] == [5] * 8
    assert len(corpus.held_out.rooms) == 1
    for position in range(5):
        (tmp_path / "few" / "hall").mkdir(parents=True, exist_ok=True)
        write_noise(tmp_path / "few" / "hall" / f"{position}.wav")
    corpus = load_corpus(make_config(data={"rir": tmp_path / "few"}))
    assert corpus.train.rooms == corpus.held_out.rooms
    assert "data.rir: 5 files of 1 rooms are too few to split, so validation shares them" in corpus.notes


def test_what_is_no_impulse_response_is_left_out_and_counted(make_config: MakeConfig, tmp_path: Path) -> None:
    for name in (
        "pointsource_noises/noise-free-sound-0000.wav",
        "pointsource_noises/rain.wav",
        "real_rirs_isotropic_noises/RVB2014_type1_noise_largeroom1_1.wav",
        "real_rirs_isotropic_noises/RVB2014_type1_rir_largeroom1_near_angla.wav",
        "simulated_rirs/smallroom/Room001/Room001-00001.wav",
    ):
        write_noise(tmp_path / "RIRS_NOISES" / name)
    write_noise(tmp_path / "RIRS_NOISES" / "simulated_rirs" / "lecture.wav", seconds=10.5)
    corpus = load_corpus(make_config(data={"rir": tmp_path}))
    assert [rir.name.rpartition("/")[2] for rir in corpus.train.rirs] == [
        "RVB2014_type1_rir_largeroom1_near_angla.wav",
        "Room001-00001.wav",
    ]
    notes = [note for note in corpus.notes if "no impulse responses" in note]
    assert ["3 noises in" in notes[0], "1 files longer than 10 s in" in notes[1]] == [True, True]
    (tmp_path / "only").mkdir()
    (tmp_path / "RIRS_NOISES" / "pointsource_noises").rename(tmp_path / "only" / "pointsource_noises")
    with pytest.raises(ConfigError, match=r"data\.rir: .*only: no usable recording"):
        load_corpus(make_config(data={"rir": tmp_path / "only"}))


def test_the_channel_is_that_of_the_configuration(make_config: MakeConfig, tmp_path: Path) -> None:
    write_noise(tmp_path / "a.wav", channels=3)
    corpus = load_corpus(make_config(data={"rir": tmp_path, "channel": 2}))
    assert {rir.channel for rir in corpus.train.rirs} == {2}
    assert {recording.channel for speaker in corpus.train.speakers for recording in speaker.recordings} == {2}


def test_recordings_below_the_rate_of_the_model_are_told(make_config: MakeConfig, demo_corpus: Path) -> None:
    corpus = load_corpus(make_config(audio={"sample_rate": 48000}))
    assert [warning.partition(":")[0] for warning in corpus.warnings] == ["data.noise", "data.rir"]
    assert "2 of 2 impulse responses" in corpus.warnings[1] and "8 kHz, 67% of its band" in corpus.warnings[1]
    assert any(note.startswith("data.speech: 120 of 120 recordings") for note in corpus.notes)
    dry = {"rir_probability": 0, "noise_probability": 0, "reference_noise": {"probability": 0}}
    assert not load_corpus(make_config(audio={"sample_rate": 48000}, mixing=dry)).warnings
    assert not load_corpus(make_config(audio={"sample_rate": 16000})).warnings
