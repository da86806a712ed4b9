"""hifitse data scan and pack, and a training from HDF5 files."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import yaml

from hifitse.audio.files import write_audio_blocks
from hifitse.config.files import load_config
from hifitse.config.schema import Config
from hifitse.corpus.corpus import Corpus, load_corpus
from hifitse.corpus.packing import plan as packing
from hifitse.corpus.packing import recording as pack_recording
from hifitse.mixing.curriculum import settings_at
from hifitse.mixing.rendering import Rendered, render_index
from hifitse.runs.records import read_metrics
from hifitse.runs.run import Run
from tests.helpers import DEMO_CORPUS, SPEECH, TINY, Cli


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    """Eight recordings of each speaker, free to change."""
    for folder in SPEECH.iterdir():
        (tmp_path / "speech" / folder.name).mkdir(parents=True)
        for path in sorted(folder.iterdir())[:8]:
            shutil.copy(path, tmp_path / "speech" / folder.name)
    return tmp_path / "speech"


def test_hdf5_files_train_as_the_folders_do(cli: Cli, trained: Path, hdf5_corpus: Path, tmp_path: Path) -> None:
    corpora = [("--set", f"data.{kind}={hdf5_corpus}/{kind}.h5") for kind in ("speech", "noise")]
    run = tmp_path / "hdf5"
    settings = ("--stop-at", 4, "--set", "data.num_workers=1")
    assert cli("train", "--config", TINY, "--run", run, *sum(corpora, ()), *settings).code == 0
    assert [row.get("loss") for row in read_metrics(Run(run))] == [
        row.get("loss") for row in read_metrics(Run(trained)) if row.step <= 4
    ]


# scan


def test_a_scan_counts_everything_and_names_what_is_broken(
    cli: Cli, speech: Path, hdf5_corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(7):
        (speech / "june_fr" / f"broken_{number}.wav").write_bytes(b"RIFF")
    corpora = f"data.speech=[{speech}, {{path: {hdf5_corpus}/speech.h5, weight: 2}}]"
    outcome = cli("data", "scan", "--config", TINY, "--set", corpora, "--json")
    assert outcome.code == 0
    found = json.loads(outcome.out)
    folder, file, noise, rir = found["corpora"]
    assert (folder["speakers"], folder["recordings"], folder["weight"]) == (4, 32, 1)
    assert (file["speakers"], file["recordings"], file["weight"]) == (4, 120, 2)
    assert (noise["recordings"], rir["recordings"], noise["weight"]) == (9, 2, None)
    seconds = sum(soundfile.info(path).duration for path in speech.rglob("*.flac"))
    assert folder["hours"] == pytest.approx(seconds / 3600)
    assert folder["sample_rates"] == {"16000": 32}
    assert [line.split(": ")[0] for line in folder["broken"]] == [
        str(speech / "june_fr" / f"broken_{number}.wav") for number in range(7)
    ]
    assert found["total"][0]["recordings"] == 152
    train, held_out = found["split"]["train"], found["split"]["held_out"]
    assert train["speakers"] + held_out["speakers"] == 8 and min(train["hours"], held_out["hours"]) > 0

    monkeypatch.setenv("COLUMNS", "80")
    outcome = cli("data", "scan", "--config", TINY, "--set", corpora)
    table, broken = outcome.out.split("broken: ", 1)
    assert all(len(line) <= 80 for line in table.splitlines())
    assert "in all" in table and "validation" in broken
    assert "broken_4.wav" in broken and "broken_5.wav" not in broken and "2 more" in broken


def test_a_scan_shows_what_is_there_when_it_is_too_little(cli: Cli, speech: Path) -> None:
    shutil.rmtree(speech / "june_fr")
    shutil.rmtree(speech / "allison")
    outcome = cli("data", "scan", "--config", TINY, "--set", f"data.speech={speech}", "--json")
    assert outcome.code == 2 and "need 3 speakers" in outcome.err
    found = json.loads(outcome.out)
    assert found["corpora"][0]["speakers"] == 2 and found["split"] == {}


# pack


def pack(cli: Cli, folder: Path, *settings: object) -> dict[str, Any]:
    """Pack, and return the lines of the configuration that were printed."""
    outcome = cli("data", "pack", "--config", TINY, "-o", folder, *settings)
    assert outcome.code == 0, outcome.err
    section = yaml.safe_load(outcome.out)["data"]
    assert isinstance(section, dict)
    return section


def with_data(config: Config, data: dict[str, Any]) -> tuple[Config, Corpus]:
    other = Config.model_validate({**config.model_dump(), "data": {**config.data.model_dump(), **data}})
    return other, load_corpus(other)


def scenes(config: Config, corpus: Corpus) -> list[tuple[dict[str, Any], Rendered]]:
    """Return recipes, without the places of the files, and what they sound like."""
    given = settings_at(config, 10)
    rendered = [render_index(0, "t", n, given, corpus.train, config.audio, config.mixing) for n in range(6)]
    return [(without_places(asdict(scene)), heard) for scene, heard in rendered]


def without_places(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_places(item) for key, item in value.items() if key not in ("path", "changed_ns")}
    return [without_places(item) for item in value] if isinstance(value, list | tuple) else value


@pytest.mark.parametrize("kind", ["folders", "hdf5"])
def test_at_its_own_rate_a_packed_corpus_is_the_same_to_the_bit(
    cli: Cli, hdf5_corpus: Path, tmp_path: Path, kind: str
) -> None:
    overrides = ["audio.sample_rate=16000"]
    if kind == "hdf5":
        overrides += [f"data.speech={{path: {hdf5_corpus}/speech.h5, weight: 2}}", f"data.rir={hdf5_corpus}"]
    config = load_config(TINY, overrides)
    settings = [text for override in overrides for text in ("--set", override)]
    other, packed = with_data(config, pack(cli, tmp_path / "out", *settings))
    before = load_corpus(config)
    assert packed.fingerprint == before.fingerprint and packed.train.speaker_sampler == before.train.speaker_sampler
    for (recipe, heard), (packed_recipe, packed_heard) in zip(
        scenes(config, before), scenes(other, packed), strict=True
    ):
        assert packed_recipe == recipe
        np.testing.assert_array_equal(packed_heard.mixture, heard.mixture)
        np.testing.assert_array_equal(packed_heard.reference, heard.reference)


def test_at_another_rate_the_same_is_said_by_the_same_speakers(cli: Cli, tmp_path: Path) -> None:
    config = load_config(TINY, ["mixing.speeds=[1]"])
    other, packed = with_data(config, pack(cli, tmp_path / "out", "--set", "mixing.speeds=[1]"))
    assert {r.sample_rate for s in packed.train.speakers for r in s.recordings} == {8000}
    before = load_corpus(config)
    compared = 0
    for (recipe, heard), (packed_recipe, packed_heard) in zip(
        scenes(config, before), scenes(other, packed), strict=True
    ):
        for key in ("speaker", "level_db", "present", "attempt"):
            assert packed_recipe[key] == recipe[key]
        for one, two in zip(recipe["interferers"], packed_recipe["interferers"], strict=True):
            assert one["voice"]["recording"]["name"] == two["voice"]["recording"]["name"]
            assert one["voice"]["start_seconds"] == pytest.approx(two["voice"]["start_seconds"], abs=1 / 8000)
        # A crop may start one sample earlier; where none does, only the rounding to 16 bits is left.
        difference = np.abs(packed_heard.mixture - heard.mixture).max()
        compared += difference < 2e-3
    assert compared >= 3


def test_a_pack_keeps_official_sets_and_corpora_of_validation_and_test(cli: Cli, tmp_path: Path) -> None:
    for number, path in enumerate(sorted(SPEECH.glob("*/*.flac"))):
        speaker = f"{number % 16:02}"
        place = ("train", "train", "dev", "extra")[number % 4]
        link = tmp_path / "corpus" / place / speaker / f"{number % 3}" / f"{number}.flac"
        if place == "extra":
            link = tmp_path / "own" / speaker / f"{number}.flac"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path)
    overrides = ["audio.sample_rate=16000", f"data.speech={tmp_path}/corpus", "data.split=official"]
    overrides.append(f"test.speech={tmp_path}/own")
    settings = [text for override in overrides for text in ("--set", override)]
    outcome = cli("data", "pack", "--config", TINY, "-o", tmp_path / "out", *settings)
    assert outcome.code == 0, outcome.err
    (tmp_path / "packed.yaml").write_text(f"extends: {TINY}\n{outcome.out}")
    before = load_corpus(load_config(TINY, overrides))
    packed = load_corpus(load_config(tmp_path / "packed.yaml", ["audio.sample_rate=16000", "data.split=official"]))
    assert before.test and packed.test and before.test.fingerprint == packed.test.fingerprint
    assert before.fingerprint == packed.fingerprint
    voices = [
        [
            [(s.name, s.sessions, [r.name for r in s.recordings]) for s in pool.speakers]
            for pool in corpus.pools.values()
        ]
        for corpus in (before, packed)
    ]
    assert voices[0] == voices[1] and any(sessions for _, sessions, _ in voices[0][0])

    found = json.loads(cli("data", "scan", "--config", TINY, *settings, "--json").out)
    assert {name: part["speakers"] for name, part in found["split"].items()} == {"train": 8, "held_out": 4, "test": 4}
    assert found["corpora"][-1]["kind"] == "test.speech" and found["corpora"][-1]["speakers"] == 4
    shown = [line.split()[:2] for line in cli("data", "scan", "--config", TINY, *settings).out.splitlines()]
    assert [["train", "8"], ["validation", "4"], ["test", "4"]] == shown[-3:]


def wavs(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_ino for path in folder.rglob("*.wav")}


def test_a_pack_that_was_killed_goes_on_and_leaves_no_half_file(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    command = [sys.executable, "-m", "hifitse", "data", "pack", "--config", str(TINY), "-o", str(folder)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
    while len(wavs(folder)) < 5 and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = wavs(folder)
    assert 5 <= len(before) < 131
    for path in before:
        samples, rate = soundfile.read(path)
        source = (DEMO_CORPUS / path.relative_to(folder).parts[0]).joinpath(*path.relative_to(folder).parts[2:])
        assert rate == 8000 and len(samples) == -(-soundfile.info(source.with_suffix(".flac")).frames // 2)
    cut, old = sorted(before)[:2]
    cut.write_bytes(cut.read_bytes()[:1000])
    os.utime(old, ns=(1, 1))
    pack(cli, folder)
    after = wavs(folder)
    assert len(after) == 131 and not list(folder.rglob("*.tmp"))
    assert {path for path in before if after[path] != before[path]} == {cut, old}
    pack(cli, folder)
    assert wavs(folder) == after


def test_a_changed_recording_is_packed_again_and_a_broken_one_is_left_out(
    cli: Cli, speech: Path, tmp_path: Path
) -> None:
    settings = ("--set", f"data.speech={speech}", "--threads", 1)
    pack(cli, tmp_path / "out", *settings)
    before = wavs(tmp_path / "out")
    changed, broken = speech / "june_fr" / "000.flac", speech / "june_fr" / "nan.wav"
    shutil.copy(speech / "june_fr" / "001.flac", changed)
    soundfile.write(broken, np.full(9000, np.nan), 16000, "FLOAT")
    outcome = cli("data", "pack", "--config", TINY, "-o", tmp_path / "out", *settings, "--json")
    assert outcome.code == 0 and "nan.wav: has samples that are not finite" in outcome.err
    after = wavs(tmp_path / "out")
    assert [path.name for path in before if before[path] != after[path]] == ["000.wav"]
    summary = json.loads(outcome.out)
    assert summary == json.loads((tmp_path / "out" / "packed.json").read_text())
    assert "nan.wav" in summary["left_out"][0] and summary["corpora"][0]["recordings"] == 32
    assert "nan" not in (tmp_path / "out" / "speech" / "speech.jsonl").read_text()


def test_what_reads_back_differently_gets_no_name(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        pack_recording,
        "write_audio_blocks",
        lambda path, blocks, *rest: write_audio_blocks(path, [b / 2 for b in blocks], *rest),
    )
    outcome = cli("data", "pack", "--config", TINY, "-o", tmp_path / "out")
    assert outcome.code == 1 and "reads back as something else" in outcome.err
    assert not wavs(tmp_path / "out") and not list((tmp_path / "out").rglob("*.tmp"))


def test_loud_and_quiet_recordings_and_rooms_keep_their_floats(cli: Cli, speech: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).uniform(-1, 1, 20000)
    levels = {"loud": 1.5, "quiet": 0.01, "usual": 0.5}
    for name, level in levels.items():
        soundfile.write(speech / "june_fr" / f"{name}.wav", level * noise, 8000, "FLOAT")
    pack(cli, tmp_path / "out", "--set", f"data.speech={speech}")
    folder = tmp_path / "out" / "speech" / "speech" / "june_fr"
    for name, level in levels.items():
        exact = soundfile.info(folder / f"{name}.wav").subtype == "FLOAT"
        assert exact == (name != "usual")
        error = np.abs(soundfile.read(folder / f"{name}.wav")[0] - level * noise).max()
        assert error <= (1e-6 if exact else 0.502 / 32768)
    assert {soundfile.info(path).subtype for path in (tmp_path / "out" / "rir").rglob("*.wav")} == {"FLOAT"}


def test_what_cannot_be_packed_is_said_first(
    cli: Cli, speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(folder: Path) -> str:
        outcome = cli("data", "pack", "--config", TINY, "-o", folder, "--set", f"data.speech={speech}")
        assert outcome.code == 2 and not wavs(folder)
        return outcome.err

    assert "choose a folder that is apart" in refused(speech / "packed")
    assert not (speech / "packed").exists()
    assert "choose a folder that is apart" in refused(speech.parent)
    with packing.held(tmp_path / "out"):
        assert "another process packs into it" in refused(tmp_path / "out")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 10**5))  # type: ignore[attr-defined]
    assert "are free; make room" in refused(tmp_path / "out")
