"""Overrides, --set KEY=VALUE: what they mean, and what is said of those that mean nothing."""

from pathlib import Path

import pytest

from tests.config.basic import BASIC, complaint, complaints, load, values

KINDS = "expected 'grid', 'compact', 'attention', 'band_attention' or 'package.module:Class'"


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("seed=7", 7),
        ("loss.ta_weight=1e-2", 0.01),
        ("train.total_steps=600_000", 600_000),
        ("train.deterministic=true", True),
        ("train.precision=float32", "float32"),
        ("train.optimizer.betas=[0.8, 0.9]", [0.8, 0.9]),
        ("selection.metric=rms_ratio", "rms_ratio"),
        ("selection.require=rms_ratio>=0.9", ["rms_ratio>=0.9"]),
        ("curriculum.tp.until=150", 150),
        ("curriculum.0.until=150", 150),
        ("curriculum.1.sir_db=[0, 1]", [0.0, 1.0]),
        ("curriculum.tp.sir_db=null", None),
        ("data.simulated_rooms.num_rooms=5", 5),
        ("data.simulated_rooms=null", None),
        ("data.speech=/a", ["/a"]),
        ("data.speech=[/a, /2024]", ["/a", "/2024"]),
        ("data.speech={path: /a, weight: 2}", [{"path": "/a", "weight": 2.0}]),
        ("data.speech=[{path: /a, weight: 2}, /b]", [{"path": "/a", "weight": 2.0}, "/b"]),
        ("data.noise=[]", []),
        ("data.noise=null", []),
        ("data.exclude=null", []),
        ("selection.require=null", []),
        ("data.exclude=*.x", ["*.x"]),
        ("model.reinject_at=2", [2]),
        ("model.bands=20", 20),
        ("model.bands=[[0, 500], [501, 1024]]", [[0, 500], [501, 1024]]),
        ("model.stft.hop=240", 240),
        ("model={kind: compact, feature_dim: 8}", {"kind": "compact", "feature_dim": 8}),
        ("loss.absent={kind: relative}", {"kind": "relative"}),
    ],
)
def test_overrides_are_typed_by_the_model(folder: Path, override: str, expected: object) -> None:
    key = override.partition("=")[0].replace("curriculum.tp.", "curriculum.0.")
    value = values(load(override), key)
    if isinstance(expected, dict):
        value = {name: value[name] for name in expected}
    assert value == expected
    assert type(value) is type(expected)


def test_overrides_of_paths_start_from_the_working_directory(folder: Path) -> None:
    assert load("data.speech=here").data.speech == (folder / "here",)
    assert load("data.speech=[here, 2024]").data.speech == (folder / "here", folder / "2024")
    assert load("data={speech: here}").data.speech == (folder / "here",)


def test_another_kind_starts_from_its_defaults(folder: Path) -> None:
    Path("configs/basic.yaml").write_text(BASIC.replace("kind: grid", "kind: grid\n  num_blocks: 7"))
    assert load("model.kind=grid").model.model_dump()["num_blocks"] == 7
    compact = load("model.kind=compact", "model.feature_dim=24").model
    assert compact.kind == "compact"
    assert (compact.feature_dim, compact.num_layers) == (24, 2)


def test_the_rest_of_a_default_section_stays(folder: Path) -> None:
    stft = load("model.stft.hop=240").model.stft
    assert (stft.n_fft, stft.window, stft.hop) == (2048, 960, 240)
    assert load("loss.absent.target_db=-40").loss.absent.kind == "hinge"


def test_the_last_override_wins(folder: Path) -> None:
    assert load("seed=2", "seed=3").seed == 3


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("loss.ta_weight", "--set loss.ta_weight: expected KEY=VALUE, for example --set train.batch_size=4"),
        ("=3", "--set =3: expected KEY=VALUE"),
        ("loss.ta_weigth=1", "--set loss.ta_weigth=1: unknown key; did you mean 'ta_weight'?"),
        ("los.ta_weight=1", "--set los.ta_weight=1: unknown key; did you mean 'loss'?"),
        ("model.lstm_hiden=3", "--set model.lstm_hiden=3: unknown key; did you mean 'lstm_hidden'?"),
        ("seed.x=1", "--set seed.x=1: seed is a whole number, it has no key 'x'"),
        ("mixing.sir_db.0=1", "--set mixing.sir_db.0=1: mixing.sir_db is a list of 2, it has no key '0'"),
        ("data.speech.3=x", "--set data.speech.3=x: unknown entry '3'; known here: 0"),
        ("data.speech.0.weight=2", "--set data.speech.0.weight=2: data.speech.0 must be a path or a section of 'key: "),
        ("train.batch_size=many", "--set train.batch_size=many: expected a whole number, got 'many'"),
        ("train.batch_size=", "--set train.batch_size=: expected a whole number, got ''"),
        ("train.batch_size=null", "--set train.batch_size=null: expected a whole number, got nothing"),
        ("curriculum.tp.name=null", "--set curriculum.tp.name=null: curriculum[0].name: expected text, got nothing"),
        ("health.guards.low.below=1", "--set health.guards.low.below=1: unknown entry 'low'; known here: level_low"),
        ("health.guards.level_low.above=1", "--set health.guards.level_low.above=1: health.guards[0]: guard level_low"),
        ("data.speech=null", "--set data.speech=null: expected at least 1 in the list, got 0"),
        ("train.batch_size=true", "--set train.batch_size=true: expected a whole number, got 'true'"),
        ("train=3", "--set train=3: expected a section of 'key: value' lines, got '3'"),
        ("mixing.sir_db=3", "--set mixing.sir_db=3: expected a list of 2, got '3'"),
        ("mixing.sir_db=[1, 2", "--set mixing.sir_db=[1, 2: value:1: not valid YAML"),
        ("mixing.sir_db=[2, 1]", "--set mixing.sir_db=[2, 1]: a range goes from low to high"),
        ("curriculum.tpp.until=3", "--set curriculum.tpp.until=3: unknown entry 'tpp'; did you mean 'tp'?"),
        ("curriculum.5.until=3", "--set curriculum.5.until=3: unknown entry '5'; known here: tp, tp_ta"),
        ("curriculum.tp.until=x", "--set curriculum.tp.until=x: curriculum[0].until: expected a whole number or null"),
        (
            "model.kind=grit",
            f"--set model.kind=grit: {KINDS}, got 'grit'",
        ),
        (
            "model={hidden: 3}",
            f"--set model={{hidden: 3}}: model.kind: {KINDS}, but it is missing",
        ),
        ("model={kind: compact, bands: 3}", "--set model={kind: compact, bands: 3}: model.bands: unknown key"),
        ("train.total_steps=9", "--set train.total_steps=9: train: warmup_steps 5000 must be below total_steps 9"),
    ],
)
def test_complaints_name_the_override(folder: Path, override: str, message: str) -> None:
    assert complaint(BASIC, override).startswith(message)


def test_an_override_repairs_what_the_file_has_wrong(folder: Path) -> None:
    Path("configs/basic.yaml").write_text(BASIC.replace("0.2", "many"))
    assert load("loss.ta_weight=0.1", "curriculum.tp_ta.absent_ratio=0.3").loss.ta_weight == 0.1


def test_a_section_that_is_none_in_the_file_is_said_so(folder: Path) -> None:
    lines = complaints(BASIC.replace("train:\n  learning_rate: 1e-3", "train: 5"), "train.batch_size=3")
    assert lines[0].startswith("--set train.batch_size=3: train must be a section")
