"""The recipes run from the first command to the last on tiny trees in the layouts of the real corpora."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from hifitse.config.files import BUNDLED, load_config
from tests.evaluation.layouts import make_librimix
from tests.helpers import DEMO_CORPUS, SPEECH, Cli

RECORDINGS = sorted(SPEECH.glob("*/*.flac"))
SMALL = (
    "audio.mixture_seconds=0.75",
    "audio.reference_seconds=0.75",
    "data.num_workers=0",
    "mixing.min_target_seconds=0.2",
    "train.total_steps=4",
    "curriculum.tp.until=2",
    "train.warmup_steps=1",
    "train.batch_size=2",
    "train.micro_batch_size=2",
    "train.validate_every=2",
    "train.checkpoint_every=2",
    "train.cpu_threads=1",
    "model.num_bands=8",
    "model.feature_dim=16",
    "model.hidden_dim=24",
    "model.num_blocks=1",
    "model.num_heads=2",
    "validation.num_scenes=10",
    "validation.num_train_scenes=0",
    "test.num_scenes=10",
    "health.guards=[{name: level_low, metric: rms_ratio, below: 0.01}]",
)


def link(root: Path, names: Sequence[str]) -> None:
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(RECORDINGS[number * 7 % len(RECORDINGS)])


def ends_well(cli: Cli, *arguments: object) -> str:
    outcome = cli(*arguments)
    assert outcome.code == 0, outcome.err
    return outcome.out


@pytest.fixture
def corpora(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "corpora"
    monkeypatch.setenv("CORPORA", str(folder))
    monkeypatch.chdir(tmp_path)
    return folder


def test_libri2mix(cli: Cli, corpora: Path) -> None:
    subsets = {
        "train-clean-100": (19, 26, 27),
        "train-clean-360": (14, 16),
        "dev-clean": (84, 174),
        "test-clean": (61, 121),
    }
    link(
        corpora / "LibriSpeech",
        [
            f"{subset}/{speaker}/{chapter}/{speaker}-{chapter}-000{number}.flac"
            for subset, speakers in subsets.items()
            for speaker in speakers
            for chapter in (198, 227)
            for number in range(2)
        ],
    )
    metadata = make_librimix(corpora, sample_rate=8000, num_mixtures=4)
    settings = [part for setting in SMALL for part in ("--set", setting)]
    ends_well(cli, "train", "--config", "libri2mix", *settings)
    ends_well(cli, "select-best", "--run", "libri2mix")
    scan = json.loads(ends_well(cli, "data", "scan", "--run", "libri2mix", "--json"))
    assert {name: part["speakers"] for name, part in scan["split"].items()} == {"train": 5, "held_out": 2, "test": 2}
    metrics = ("--metrics", "sdri,pesq_nb,stoi,estoi", "--json")
    found = json.loads(ends_well(cli, "evaluate", metadata.parent, "--run", "libri2mix", *metrics))
    assert (found["num_pairs"], found["sample_rate"]) == (8, 8000)
    assert {"tp_si_sdri", "tp_sdri", "tp_pesq_nb", "tp_stoi", "tp_estoi", "confusion_rate"} <= found["metrics"].keys()
    found = json.loads(ends_well(cli, "evaluate", "test", "--run", "libri2mix", "--json"))
    assert found["num_pairs"] == 10


def test_fullband_48k(cli: Cli, corpora: Path) -> None:
    vctk = [
        f"p{225 + speaker}/p{225 + speaker}_00{n}_mic{mic}.wav"
        for speaker in range(8)
        for n in (1, 2)
        for mic in (1, 2)
    ]
    link(corpora / "VCTK-Corpus-0.92/wav48_silence_trimmed", vctk)
    link(
        corpora / "EARS", [f"p{s:03}/{n}.wav" for s in range(1, 9) for n in ("rainbow_01_regular", "sentences_01_loud")]
    )
    dns = [f"book_0000{n}_chp_0009_reader_{s:05}_0_seg_1.wav" for s in range(8) for n in range(2)]
    link(corpora / "DNS/clean_fullband/read_speech", dns)
    (corpora / "DNS/noise_fullband").symlink_to(DEMO_CORPUS / "noise")
    settings = [part for setting in (*SMALL, "data.simulated_rooms.num_rooms=4") for part in ("--set", setting)]
    ends_well(cli, "train", "--config", "fullband_48k", *settings)
    ends_well(cli, "select-best", "--run", "fullband_48k")
    found = json.loads(ends_well(cli, "evaluate", "test", "--run", "fullband_48k", "--metrics", "sdri,estoi", "--json"))
    assert (found["num_pairs"], found["sample_rate"]) == (10, 48000)
    assert {"tp_si_sdri", "tp_sdri", "tp_estoi", "ta_suppression_db"} <= found["metrics"].keys()


@pytest.mark.parametrize("name", ["libri2mix", "fullband_48k"])
def test_without_its_corpora_a_recipe_says_what_it_wants(cli: Cli, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CORPORA", raising=False)
    outcome = cli("train", "--config", name)
    assert outcome.code == 2 and "there is no environment variable CORPORA; set it" in outcome.err
    monkeypatch.setenv("CORPORA", "/corpora")
    assert load_config(BUNDLED / "configs" / f"{name}.yaml").test is not None
