"""HDF5 corpora: the same recordings as in folders, read by parts, for weeks, in any process."""

import multiprocessing
import os
import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from hifitse.audio import hdf5_index
from hifitse.audio.files import AudioInfo, probe_audio, read_audio
from hifitse.config.schema import Config
from hifitse.corpus.corpus import Pool, load_corpus
from hifitse.corpus.scan import Scan, scan
from hifitse.errors import ConfigError, DataError
from hifitse.mixing.curriculum import settings_at, validation_settings
from hifitse.mixing.rendering import render_index

MakeConfig = Callable[..., Config]
KINDS = ("speech", "noise", "rir")


@pytest.fixture
def speech(hdf5_corpus: Path, tmp_path: Path) -> Path:
    """Packed speech, free to change."""
    return Path(shutil.copy(hdf5_corpus / "speech.h5", tmp_path / "speech.h5"))


def names(found: Scan) -> list[str]:
    return [recording.name for recording in found.recordings]


def contents(pool: Pool) -> list[tuple[str, list[str]]]:
    return [(speaker.name, [recording.name for recording in speaker.recordings]) for speaker in pool.speakers]


# The same as in folders


@pytest.mark.parametrize("kind", ["speech", "noise"])
def test_names_lengths_and_samples_are_those_of_the_folder(demo_corpus: Path, hdf5_corpus: Path, kind: str) -> None:
    folder, file = scan(demo_corpus / kind, f"data.{kind}"), scan(hdf5_corpus / f"{kind}.h5", f"data.{kind}")
    assert names(folder) == names(file) and not file.problems and not file.notes
    for one, other in list(zip(folder.recordings, file.recordings, strict=True))[::5]:
        assert (one.sample_rate, one.num_frames) == (other.sample_rate, other.num_frames)
        assert probe_audio(other.path) == AudioInfo(one.sample_rate, one.num_frames)
        for rate, start, number, speed in ((16000, 0.0, None, 1.0), (48000, 0.7, 9000, 1.0), (8000, 0.3, 4000, 0.9)):
            expected = read_audio(one.path, rate, start, number, speed)
            np.testing.assert_array_equal(read_audio(other.path, rate, start, number, speed), expected)


def test_splits_scenes_and_waveforms_are_those_of_the_folders(make_config: MakeConfig, hdf5_corpus: Path) -> None:
    config = make_config()
    packed_config = make_config(data={kind: hdf5_corpus / f"{kind}.h5" for kind in ("speech", "noise")})
    one, other = load_corpus(config), load_corpus(packed_config)
    assert one.fingerprint == other.fingerprint
    assert contents(one.train) == contents(other.train) and contents(one.held_out) == contents(other.held_out)
    for index in range(4):
        for pool, pool_of_hdf5, scene_settings in (
            (one.train, other.train, settings_at(config, 10)),
            (one.held_out, other.held_out, validation_settings(config)),
        ):
            _, expected = render_index(0, "t", index, scene_settings, pool, config.audio, config.mixing)
            _, found = render_index(0, "t", index, scene_settings, pool_of_hdf5, config.audio, config.mixing)
            np.testing.assert_array_equal(found.mixture, expected.mixture)
            np.testing.assert_array_equal(found.reference, expected.reference)


def test_a_folder_of_files_is_a_corpus_for_each(make_config: MakeConfig, speech: Path, tmp_path: Path) -> None:
    shutil.copy(speech, tmp_path / "again.h5")
    (tmp_path / "extra").mkdir()
    corpus = load_corpus(make_config(data={"speech": tmp_path}))
    speakers = {name for name, _ in contents(corpus.train) + contents(corpus.held_out)}
    assert {"again/allison", "speech/allison"} <= speakers and len(speakers) == 8
    assert any("extra" in note and "name them on their own" in note for note in corpus.notes)


@pytest.mark.parametrize(
    ("filenames", "expected"),
    [
        (["a.wav", "b.wav"], ["p1/a.wav", "p1/b.wav"]),
        (["x/a.wav", "p1/b.wav"], ["p1/x/a.wav", "p1/b.wav"]),
        (["/data/p1/x/b.wav", "/data/other/a.wav"], ["p1/x/b.wav", "p1/a.wav"]),
        (["a.wav", "a.wav"], ["p1/000000", "p1/000001"]),
        (["a.wav"], ["p1/000000", "p1/000001"]),
        (None, ["p1/000000", "p1/000001"]),
    ],
)
def test_names_come_from_file_names_and_know_no_machine(
    tmp_path: Path, filenames: list[str] | None, expected: list[str]
) -> None:
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file.attrs["sample_rate"] = 8000
        file["speaker_ids"] = ["p1"]
        group = file.create_group("p1")
        group.attrs["count"] = 2
        group["0"], group["1"] = np.ones(10, np.float32), np.ones(20, np.float32)
        if filenames is not None:
            group["filenames"] = filenames
    listing = hdf5_index.list_file(tmp_path / "c.h5", "speech")
    assert [entry.name for entry in listing.entries] == expected
    assert [entry.dataset for entry in listing.entries] == ["p1/0", "p1/1"]


# Damage


def test_what_is_missing_or_broken_is_left_out_by_name(make_config: MakeConfig, speech: Path) -> None:
    with h5py.File(speech, "a") as file:
        ids = [name.decode() for name in file["speaker_ids"][()]]
        del file["speaker_ids"], file["june_fr/3"], file["june_fr/4"], file["june_fr/5"], file["june_fr/6"]
        del file["june_fr/7"], file["june_fr/8"]
        file["speaker_ids"] = [*ids, "nobody", "uncounted", "single"]
        file["june_fr/4"] = np.zeros((3, 2), np.float32)
        file["june_fr/5"] = np.zeros(0, np.float32)
        file["june_fr/6"] = np.ones(99, np.float32)
        file["june_fr/7"] = np.zeros(99, np.int16)
        file.create_group("june_fr/8")
        file.create_group("uncounted")
        file.create_group("single").attrs["count"] = 1
        file["single/0"] = np.ones(20000, np.float32)
    corpus = load_corpus(make_config(data={"speech": speech}))
    assert any("single recording left out" in note and "single" in note for note in corpus.notes)
    found = scan(speech, "data.speech")
    for place, why in [
        ("june_fr/3", "no such dataset"),
        ("june_fr/4", "not one dimension"),
        ("june_fr/5", "empty"),
        ("june_fr/6", "cut short: 99 samples"),
        ("june_fr/7", "int16"),
        ("june_fr/8", "a group"),
        ("nobody", "there is no such group"),
        ("uncounted", "has no attribute count"),
    ]:
        assert [p for p in found.problems if p.startswith(f"{speech}::{place}: ") and why in p], (place, found.problems)
    assert len(found.problems) == 8
    assert scan(speech, "data.speech").problems == found.problems, "what is remembered is the same"


def test_damaged_files_are_problems_beside_good_ones(
    make_config: MakeConfig, speech: Path, tmp_path: Path, hdf5_corpus: Path
) -> None:
    (tmp_path / "cut.h5").write_bytes(speech.read_bytes()[:100_000])
    (tmp_path / "text.h5").write_text("no HDF5")
    shutil.copy(hdf5_corpus / "noise.h5", tmp_path / "wrong_kind.h5")
    notes = "\n".join(load_corpus(make_config(data={"speech": tmp_path})).notes)
    assert "cut.h5: not readable as HDF5 (truncated file" in notes
    assert "text.h5: not readable as HDF5" in notes and "wrong_kind.h5::/: no speech corpus" in notes
    with pytest.raises(ConfigError, match=r"data\.speech: .*no usable recording \(1 unusable, first: .*cut\.h5"):
        load_corpus(make_config(data={"speech": tmp_path / "cut.h5"}))


def test_reading_names_what_is_wrong(speech: Path) -> None:
    with h5py.File(speech, "a") as file:
        file["june_fr/0"][5] = np.nan
    for address, why in [
        (f"{speech}::june_fr/99", "no such dataset"),
        (f"{speech}::june_fr", "a group"),
        (f"{speech}::june_fr/0", "not finite"),
        (f"{speech.parent}/none.h5::june_fr/0", "no such HDF5 file"),
    ]:
        with pytest.raises(DataError, match=why) as caught:
            read_audio(address, 16000)
        assert "\n" not in str(caught.value)


def test_a_file_that_changed_since_the_scan_is_refused_and_scanned_again(
    make_config: MakeConfig, speech: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed: list[str] = []
    list_file = hdf5_index.list_file
    monkeypatch.setattr(hdf5_index, "list_file", lambda *args: listed.append(args[1]) or list_file(*args))
    config = make_config(data={"speech": speech})
    corpus = load_corpus(config)
    assert load_corpus(config) == corpus and listed == ["speech"]
    with h5py.File(speech, "a") as file:
        file["june_fr/0"][0] = 0.5
    os.utime(speech, ns=(1, 1))
    with pytest.raises(DataError, match=r"speech\.h5::.*: its file changed since it was scanned"):
        render_index(0, "t", 0, settings_at(config, 0), corpus.train, config.audio, config.mixing)
    again = load_corpus(config)
    assert listed == ["speech", "speech"]
    render_index(0, "t", 0, settings_at(config, 0), again.train, config.audio, config.mixing)


def test_a_missing_rate_is_assumed_and_said(make_config: MakeConfig, speech: Path) -> None:
    with h5py.File(speech, "a") as file:
        del file.attrs["sample_rate"]
    corpus = load_corpus(make_config(data={"speech": speech}))
    assert corpus.train.speakers[0].recordings[0].sample_rate == 48000
    assert f"data.speech: {speech} has no attribute sample_rate; taken as 48000 Hz" in corpus.notes
    with h5py.File(speech, "a") as file:
        file.attrs["sample_rate"] = 0
    assert scan(speech, "data.speech").problems == [f"{speech}::/: no usable attribute sample_rate (sample_rate 0)"]


def test_without_h5py_the_remedy_is_named(
    make_config: MakeConfig, speech: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ConfigError, match=r"data\.speech: .*speech\.h5: .* pip install 'hifitse\[hdf5\]'$"):
        load_corpus(make_config(data={"speech": speech}))


# For weeks, in any process


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_many_reads_keep_neither_files_nor_memory(hdf5_corpus: Path) -> None:
    recordings = scan(hdf5_corpus / "speech.h5", "data.speech").recordings

    def read_all(rounds: int) -> None:
        for recording in recordings * rounds:
            assert len(read_audio(recording.path, 16000, 0.2, 4000, changed_ns=recording.changed_ns)) == 4000

    read_all(2)
    files, size = open_files(), resident_bytes()
    read_all(20)
    assert open_files() == files
    assert resident_bytes() - size < 4 * 2**20


def test_a_file_that_was_replaced_is_read_anew(speech: Path) -> None:
    address = f"{speech}::allison/0"
    before = read_audio(address, 16000)
    with h5py.File(speech.with_name("new.h5"), "w") as file:
        file.attrs["sample_rate"] = 16000
        file["allison/0"] = before[::-1]
    speech.with_name("new.h5").replace(speech)
    np.testing.assert_array_equal(read_audio(address, 16000), before[::-1])
    speech.unlink()
    with pytest.raises(DataError, match="no such HDF5 file"):
        read_audio(address, 16000)


def digest_of_reads(address: str) -> float:
    return float(sum(np.abs(read_audio(address, 16000, 0.01 * n, 2000)).sum() for n in range(50)))


def test_forked_processes_read_at_the_same_time(hdf5_corpus: Path) -> None:
    address = f"{hdf5_corpus / 'speech.h5'}::allison/0"
    expected = digest_of_reads(address)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks in a process with threads
        with multiprocessing.get_context("fork").Pool(2) as processes:
            results = processes.map_async(digest_of_reads, [address] * 4)
            assert digest_of_reads(address) == expected
            assert results.get(timeout=60) == [expected] * 4


# What strangers send


SECRET = np.full(1000, 0.25, np.float32)


def with_what_lies_elsewhere(path: Path, secret: Path) -> Path:
    """A corpus in which each recording is a way to have another file of this machine read."""
    with h5py.File(secret.with_suffix(".h5"), "w") as file:
        file["x"] = SECRET
        file["group/0"] = SECRET
        file["group"].attrs["count"] = 1
    secret.write_bytes(SECRET.tobytes())
    with h5py.File(path, "w") as file:
        file.attrs["sample_rate"] = 16000
        group = file.create_group("p1")
        group["0"] = np.ones(1000, np.float32)
        group.create_dataset("1", (1000,), "f4", external=[(str(secret), 0, 4000)])
        layout = h5py.VirtualLayout((1000,), "f4")
        layout[:] = h5py.VirtualSource(str(secret.with_suffix(".h5")), "x", (1000,))
        group.create_virtual_dataset("2", layout)
        group["3"] = h5py.ExternalLink(str(secret.with_suffix(".h5")), "x")
        group["4"] = h5py.SoftLink("/p2/0")
        group.attrs["count"] = 5
        file["p2"] = h5py.ExternalLink(str(secret.with_suffix(".h5")), "group")
        file["p3"] = h5py.SoftLink("/p2")
        file["speaker_ids"] = ["p1", "p2", "p3"]
    return path


def test_no_other_file_of_the_machine_is_read(tmp_path: Path) -> None:
    path = with_what_lies_elsewhere(tmp_path / "sent.h5", tmp_path / "secret.bin")
    found = scan(path, "data.speech")
    assert names(found) == ["p1/000000"]
    assert [problem.partition("::")[2].split(": ")[0] for problem in found.problems] == [
        *(f"p1/{number}" for number in (1, 2, 3, 4)),
        "p2",
        "p3",
    ]
    assert all("only what lies in the file itself is read" in problem for problem in found.problems)
    for dataset in ("p1/1", "p1/2", "p1/3", "p1/4", "p2/0", "p3/0"):
        with pytest.raises(DataError, match="only what lies in the file itself is read"):
            read_audio(f"{path}::{dataset}", 16000)
    rooms = scan(path, "data.rir")
    assert names(rooms) == ["p1/000000"] and {"p2", "p3"} <= {
        p.partition("::")[2].split(": ")[0] for p in rooms.problems
    }


@pytest.mark.parametrize("part", ["speaker_ids", "p1/filenames", "p1/durations"])
def test_lists_elsewhere_are_not_read_either(tmp_path: Path, part: str) -> None:
    path = with_what_lies_elsewhere(tmp_path / "sent.h5", tmp_path / "secret.bin")
    with h5py.File(path, "a") as file:
        if part in file:
            del file[part]
        file[part] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "x")
    problems = [problem.partition("::")[2] for problem in scan(path, "data.speech").problems]
    assert any("only what lies in the file itself is read" in problem for problem in problems if "/1" not in problem)


def test_sizes_that_are_no_corpus_cost_nothing(tmp_path: Path) -> None:
    path = tmp_path / "sent.h5"
    with h5py.File(path, "w") as file:
        file.attrs["sample_rate"] = 16000
        for number, count in enumerate((10**7, 10**9, -1, np.inf, "9" * 5000, [1, 2])):
            file.create_group(f"s{number}").attrs["count"] = count
        large = file.create_group("large")
        large.attrs["count"] = 1
        large.create_dataset("0", (2**30,), "f4", chunks=(2**29,), compression="gzip")
        large.create_dataset("durations", (10**9,), "f8", chunks=(1000,))
        file["speaker_ids"] = [f"s{number}" for number in range(6)] + ["large", "p/../q", ""]
    found = scan(path, "data.speech")
    assert not found.recordings and len(found.problems) == 9
    with h5py.File(path, "a") as file:
        del file["large/durations"]
    assert any("chunks of 2,048 MiB" in problem for problem in scan(path, "data.speech").problems)


def test_a_pipe_is_no_hdf5_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.h5")
    with pytest.raises(DataError, match="pipe.h5: not a regular file"):
        read_audio(f"{tmp_path}/pipe.h5::p1/0", 16000)
    with pytest.raises(ConfigError, match="neither a folder nor"):
        scan(tmp_path / "pipe.h5", "data.speech")
