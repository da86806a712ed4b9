"""A model is measured on published lists, by the figures that papers report, and an interruption changes no byte."""

import csv
import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pesq
import pystoi
import pytest
import soundfile
import torch
from torchmetrics.functional.audio import scale_invariant_signal_distortion_ratio, signal_distortion_ratio

import hifitse
from hifitse.audio.files import read_audio, resample
from hifitse.evaluation.intervals import clustered_interval
from tests.evaluation.layouts import make_csv, make_librimix
from tests.helpers import SPEECH, TINY, Cli
from tests.processes import wait_for

FILES = ("pairs.jsonl", "pairs.csv", "summary.json")
METRICS = "sdr,sdri,pesq_wb,stoi,estoi"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported model at 16 kHz."""
    folder = tmp_path_factory.mktemp("model")
    settings = ("--set", "audio.sample_rate=16000", "--set", "train.total_steps=4", "--set", "curriculum.tp.until=2")
    for line in (
        ("train", "--config", TINY, "--run", folder / "run", *settings),
        ("export", "--run", folder / "run", "--from", "4", "-o", folder / "model.safetensors"),
    ):
        subprocess.run([sys.executable, "-m", "hifitse", *map(str, line)], check=True, capture_output=True)
    return folder / "model.safetensors"


def evaluated(cli: Cli, *arguments: object) -> dict[str, Any]:
    outcome = cli("evaluate", *arguments, "--json")
    assert outcome.code == 0, outcome.err
    found: dict[str, Any] = json.loads(outcome.out)
    return found


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "pairs.csv").open() as file:
        return list(csv.DictReader(file))


def test_figures_on_librimix_are_those_of_the_libraries_called_by_hand(cli: Cli, model: Path, tmp_path: Path) -> None:
    metadata = make_librimix(tmp_path)
    found = evaluated(cli, metadata, "--model", model, "--metrics", METRICS, "-o", tmp_path / "out")
    assert {key: found[key] for key in ("test_set", "layout", "num_pairs", "sample_rate")} == {
        "test_set": "test_mix_clean",
        "layout": "Libri2Mix",
        "num_pairs": 8,
        "sample_rate": 16000,
    }
    network, root = hifitse.load(model).network, metadata.parents[1] / "test"
    enrolments = {
        tuple(words[:2]): f"{words[2]}.wav"
        for line in (metadata.parent / "map_mixture2enrollment").read_text().splitlines()
        if (words := line.split())
    }
    rows = rows_of(tmp_path / "out")
    assert len(rows) == len(enrolments) == 8
    for row in rows:
        mixture_id, utterance = row["name"].split("/")
        place = mixture_id.split("_").index(utterance) + 1
        paths = [f"mix_clean/{mixture_id}.wav", enrolments[mixture_id, utterance], f"s{place}/{mixture_id}.wav"]
        mixture, reference, target = (
            torch.from_numpy(soundfile.read(root / path, dtype="float32")[0]) for path in paths
        )
        with torch.inference_mode():
            estimate = network(mixture[None], reference[None])[0]
        sdr, sdr_of_mixture = (
            signal_distortion_ratio(part.double(), target.double()).item() for part in (estimate, mixture)
        )
        si_sdr, si_sdr_of_mixture = (
            scale_invariant_signal_distortion_ratio(part.double(), target.double(), zero_mean=True).item()
            for part in (estimate, mixture)
        )
        expected = {
            "si_sdr_db": si_sdr,
            "si_sdri_db": si_sdr - si_sdr_of_mixture,
            "sdr": sdr,
            "sdri": sdr - sdr_of_mixture,
            "pesq_wb": pesq.pesq(16000, target.numpy(), estimate.numpy(), "wb"),
            "stoi": pystoi.stoi(target.numpy(), estimate.numpy(), 16000),
            "estoi": pystoi.stoi(target.numpy(), estimate.numpy(), 16000, extended=True),
        }
        assert {name: float(row[name]) for name in expected} == pytest.approx(expected, rel=1e-4, abs=1e-4)
    for name, metric in {"si_sdri_db": "tp_si_sdri", "pesq_wb": "tp_pesq_wb"}.items():
        values = [float(row[name]) for row in rows]
        interval = clustered_interval(values, [row["speaker"] for row in rows])
        expected = {
            "mean": interval.mean,
            "low": interval.low,
            "high": interval.high,
            "median": float(np.median(values)),
        }
        assert found["metrics"][metric] == pytest.approx(expected)
    ratio = sum(float(row["rms_estimate"]) for row in rows) / sum(float(row["rms_target"]) for row in rows)
    assert found["metrics"]["rms_ratio"]["mean"] == pytest.approx(ratio)


def test_killed_and_resumed_gives_the_same_files(cli: Cli, model: Path, tmp_path: Path) -> None:
    metadata = make_librimix(tmp_path, num_mixtures=5)
    arguments = ("evaluate", metadata, "--model", model, "--metrics", "estoi")
    assert cli(*arguments, "-o", tmp_path / "straight").code == 0
    killed = tmp_path / "killed"
    command = [sys.executable, "-m", "hifitse", *map(str, arguments), "-o", str(killed)]
    # The last bits of a figure depend on among how many threads its sums are split, and other tests choose that.
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        rows = killed / "pairs.jsonl"
        assert wait_for(lambda: rows.exists() and rows.read_bytes().count(b"\n") > 2)
        process.send_signal(signal.SIGKILL)
    before = rows.read_bytes()
    assert cli(*arguments, "-o", killed).code == 0
    whole = rows.read_bytes()
    assert whole.startswith(before) and whole.count(b"\n") == 11
    for name in FILES:
        assert (killed / name).read_bytes() == (tmp_path / "straight" / name).read_bytes(), name
    # Wherever the last row was cut.
    for size in range(len(whole) - 1, 0, -len(whole) // 3):
        rows.write_bytes(whole[:size])
        assert cli(*arguments, "-o", killed).code == 0
        assert rows.read_bytes() == whole, size


def test_another_evaluation_does_not_go_on_in_the_same_folder(cli: Cli, model: Path, tmp_path: Path) -> None:
    own, out = make_csv(tmp_path, sample_rate=16000), tmp_path / "out"
    assert cli("evaluate", own, "--model", model, "-o", out).code == 0
    before = (out / "pairs.jsonl").read_bytes()
    outcome = cli("evaluate", own, "--model", model, "-o", out, "--metrics", "stoi")
    assert outcome.code == 2 and "holds another evaluation" in outcome.err and "--output" in outcome.err
    assert (out / "pairs.jsonl").read_bytes() == before
    (out / "pairs.jsonl").write_bytes(before[:-20] + b"}\n")
    outcome = cli("evaluate", own, "--model", model, "-o", out)
    assert outcome.code == 1 and "damaged" in outcome.err


def test_absent_speakers_count_for_suppression_and_not_for_quality(cli: Cli, model: Path, tmp_path: Path) -> None:
    found = evaluated(cli, make_csv(tmp_path, 16000), "--model", model, "--metrics", "stoi", "-o", tmp_path / "out")
    *present, absent = rows_of(tmp_path / "out")
    assert [row["present"] for row in present] == ["True", "True"] and absent["present"] == "False"
    assert absent["stoi"] == absent["si_sdr_db"] == "" and absent["suppression_db"]
    assert found["metrics"]["ta_suppression_db"]["mean"] == pytest.approx(float(absent["suppression_db"]))
    assert found["metrics"]["ta_suppression_db"]["low"] is None, "one speaker has no interval"
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["metrics"] == found["metrics"]
    stoi = [float(row["stoi"]) for row in present]
    assert found["metrics"]["tp_stoi"]["mean"] == pytest.approx(sum(stoi) / 2)


def test_figures_are_at_the_rate_of_the_list_or_of_the_model_where_that_is_lower(
    cli: Cli, trained: Path, model: Path, tmp_path: Path
) -> None:
    low, high = make_csv(tmp_path / "low", 8000), make_csv(tmp_path / "high", 16000)
    # An 8 kHz model on a list of 16 kHz, and the other way round.
    for path, source in ((high, ("--run", trained, "--from", 12)), (low, ("--model", model))):
        out = tmp_path / path.parent.name / "out"
        assert evaluated(cli, path, *source, "-o", out)["sample_rate"] == 8000
        extractor = hifitse.load(source[1], **({"checkpoint": 12} if path == high else {}))
        first = rows_of(out)[0]
        parts = ("mixture", "reference", "target")
        paths = [path.parent / f"audio/0_{part}.wav" for part in parts]
        mixture, reference = (torch.from_numpy(read_audio(p, extractor.sample_rate)) for p in paths[:2])
        with torch.inference_mode():
            estimate = extractor.network(mixture[None], reference[None])[0].numpy()
        target = read_audio(paths[2], 8000)
        estimate = resample(estimate, extractor.sample_rate, 8000)[: len(target)]
        expected = scale_invariant_signal_distortion_ratio(
            torch.from_numpy(estimate).double(), torch.from_numpy(target).double(), zero_mean=True
        )
        assert float(first["si_sdr_db"]) == pytest.approx(expected.item(), abs=1e-3)
    outcome = cli("evaluate", high, "--run", trained, "--from", 12)
    assert "figures at 8000 Hz (list 16000 Hz, model 8000 Hz)" in outcome.out
    outcome = cli("evaluate", high, "--run", trained, "--from", 12, "--metrics", "pesq_wb")
    assert outcome.code == 2 and "pesq_wb: is defined at 16000 Hz" in outcome.err
    assert len(list((trained / "evaluation").iterdir())) == 1, "results go into the run"


def test_the_summary_can_be_pasted(cli: Cli, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    own = make_csv(tmp_path, 16000)
    table, markdown, latex = (
        cli("evaluate", own, "--model", model, "--metrics", "pesq_wb", "-o", tmp_path / "out", *form).out
        for form in ((), ("--format", "markdown"), ("--format", "latex"))
    )
    assert all(len(line) <= 80 for line in table.splitlines()[:-1])
    heads, _, cells = (line.strip("| ").split(" | ") for line in markdown.splitlines()[:3])
    assert heads == ["Model", "SI-SDR (dB)", "SI-SDRi (dB)", "TA suppression (dB)", "PESQ-WB"]
    assert len(cells) == len(heads) and all(math.isfinite(float(cell)) for cell in cells[1:])
    assert r"Model & SI-SDR (dB) & SI-SDRi (dB) & TA suppression (dB) & PESQ-WB \\" in latex
    assert latex.startswith("% CSV pairs, digest ") and cells[1] in latex


def test_what_was_typed_wrongly_costs_one_line(cli: Cli, model: Path, tmp_path: Path) -> None:
    own = make_csv(tmp_path, 16000)
    for arguments, words in (
        ((tmp_path / "none", "--model", model), "no such file or folder"),
        ((own, "--model", model, "--run", "demo"), "--model brings all it needs"),
        ((own, "--model", model, "--metrics", "pesk"), "--metrics pesk: unknown"),
        ((own, "--model", model, "--metrics", "sdr", "--speaker-encoder", own), "no speaker_similarity is asked for"),
    ):
        outcome = cli("evaluate", *arguments)
        assert outcome.code == 2 and words in outcome.err and len(outcome.err.splitlines()) == 1


def test_the_test_scenes_of_the_configuration_are_a_test_set_too(cli: Cli, trained: Path, tmp_path: Path) -> None:
    out, speech = tmp_path / "out", tmp_path / "strangers"
    outcome = cli("evaluate", "test", "--run", trained, "--from", 12)
    assert outcome.code == 2 and "there is no test set" in outcome.err
    for number, folder in enumerate(sorted(SPEECH.iterdir())):
        (speech / f"stranger{number}").mkdir(parents=True)
        for file in sorted(folder.iterdir())[:6]:
            (speech / f"stranger{number}" / file.name).symlink_to(file)
    test = ("--set", f"test={{speech: [{speech}], num_scenes: 8, absent_ratio: 0.25}}")
    arguments = ("test", "--run", trained, "--from", 12, *test, "--metrics", "stoi", "-o", out)
    found = evaluated(cli, *arguments)
    assert (found["test_set"], found["num_pairs"], found["sample_rate"]) == ("test", 8, 8000)
    assert {"tp_si_sdri", "tp_stoi", "ta_suppression_db", "confusion_rate"} <= found["metrics"].keys()
    rows, whole = rows_of(out), (out / "pairs.jsonl").read_bytes()
    assert [row["present"] for row in rows].count("False") == 2
    assert all(row["speaker"].startswith("stranger") and row["reference_seconds"] for row in rows)
    (out / "pairs.jsonl").write_bytes(whole[: len(whole) // 2])
    assert evaluated(cli, *arguments) == found
    assert (out / "pairs.jsonl").read_bytes() == whole
    assert "name a run" in cli("evaluate", "test", "--model", "model.safetensors").err


def test_interferers_tell_confusion(cli: Cli, model: Path, tmp_path: Path) -> None:
    known = make_csv(tmp_path, 16000)
    found = evaluated(cli, known, "--model", model, "-o", tmp_path / "known")
    rows = rows_of(tmp_path / "known")
    shares = [float(row["interferer_si_sdr_db"]) > float(row["si_sdr_db"]) for row in rows[:2]]
    assert found["metrics"]["confusion_rate"]["mean"] == sum(shares) / 2
    text = known.read_text().splitlines()
    columns = [line.split(",") for line in text]
    (tmp_path / "unknown.csv").write_text("\n".join(",".join([*c[:3], c[4]]) for c in columns))
    found = evaluated(cli, tmp_path / "unknown.csv", "--model", model, "-o", tmp_path / "unknown")
    assert "confusion_rate" not in found["metrics"] and "rejection_rate" in found["metrics"]
