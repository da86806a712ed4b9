"""Configuration files: what people wrote, what they meant, and what they are told."""

import json
import subprocess
import sys
from dataclasses import astuple
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from hifitse.config.changes import Change, config_changes
from hifitse.config.data import WeightedCorpus
from hifitse.config.files import dump_config, from_data, load_config, to_data
from hifitse.config.parsing.yaml import read_yaml, write_yaml
from hifitse.config.schema import Config
from hifitse.errors import ConfigError

BASIC = """\
seed: 1
data:
  speech: corpora/vctk
curriculum:
  - {name: tp, until: 1000, absent_ratio: 0}
  - name: tp_ta
    absent_ratio: 0.2
model:
  kind: grid
loss:
  ta_weight: 0.2
train:
  learning_rate: 1e-3
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with configs/basic.yaml in it."""
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/basic.yaml").write_text(BASIC)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def load(*overrides: str) -> Config:
    return load_config(Path("configs/basic.yaml"), overrides)


def complaints(text: str, *overrides: str) -> list[str]:
    """Return the lines that one hears about ``text`` in configs/basic.yaml, without the file name."""
    path = Path("configs/basic.yaml")
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides)
    return [line.removeprefix(f"{path}:") for line in str(caught.value).splitlines()]


def complaint(text: str, *overrides: str) -> str:
    (line,) = complaints(text, *overrides)
    return line


def values(config: Config, key: str) -> Any:
    value: Any = to_data(config)
    for part in key.split("."):
        value = value[int(part) if part.isdecimal() else part]
    return value


# Reading


def test_reads_numbers_as_yaml_1_2_and_paths_from_the_file(folder: Path) -> None:
    config = load()
    assert config.train.learning_rate == 0.001
    assert config.data.speech == (folder / "configs/corpora/vctk",)
    assert config.curriculum[1].name == "tp_ta"


def test_paths_are_relative_to_where_they_stand(folder: Path) -> None:
    path = folder / "configs/basic.yaml"
    path.write_text(BASIC.replace("speech: corpora/vctk", "speech: [/abs/a, ../b]\n  noise: n\n  rir: ~/r"))
    data = load("data.noise=other").data
    assert data.speech == (Path("/abs/a"), folder / "b")
    assert data.noise == (folder / "other",)
    assert data.rir == (Path.home() / "r",)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1e-3", 0.001),
        ("1E3", 1000.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("-0.1e+2", -10.0),
        ("010", 10),
        ("0x10", 16),
        ("0o10", 8),
        ("500_000", 500_000),
        ("+3", 3),
        ("1:30", "1:30"),
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("2024-01-01", "2024-01-01"),
        ("~", None),
        ("", None),
        ("e3", "e3"),
        ("1e", "1e"),
        ("'1'", "1"),
        ("[1, 1e1, x]", [1, 10.0, "x"]),
    ],
)
def test_scalars(text: str, expected: object) -> None:
    value = read_yaml(f"a: {text}", "here")[0]["a"]
    assert value == expected
    assert type(value) is type(expected)


def test_missing_or_unreadable_files(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot read the configuration: No such file"):
        load_config(Path("none.yaml"))
    with pytest.raises(ConfigError, match="configs: cannot read the configuration: Is a directory"):
        load_config(Path("configs"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data: [a\nloss: 1", "2: not valid YAML: expected ',' or ']'"),
        ("a: 1\n\tb: 2", "2: not valid YAML: found character '\\t'"),
        ("seed: 1\n---\nseed: 2", "2: not valid YAML: but found another document"),
        ("seed: !!python/object:os.system 1", "1: not valid YAML: could not determine a constructor"),
        ("seed: !!int many", " not valid YAML: invalid literal for int()"),
        ("seed: 1\nloss:\n  ta_weight: 0.1\n  ta_weight: 0.2", "4: loss.ta_weight: given twice, first in line 3"),
        ("seed: 1\nseed: 1", "2: seed: given twice, first in line 1"),
        ("loss:\n  1: x", "2: loss: a key must be text"),
        ("? [a, b]\n: 1", "1: here: a key must be text"),
        ("loss: &a\n  absent: *a", "1: loss.absent: refers to itself"),
        ("seed: " + "[" * 5000, " not valid YAML: nested too deeply"),
        ("- 1\n- 2", " expected sections such as 'data:' and 'model:', got list"),
        ("text", " expected sections such as 'data:' and 'model:', got str"),
    ],
)
def test_broken_yaml(folder: Path, text: str, message: str) -> None:
    assert complaint(text).startswith(message)


def test_bytes_that_are_no_text(folder: Path) -> None:
    Path("configs/basic.yaml").write_bytes(b"seed: \xff\xfe")
    with pytest.raises(ConfigError, match="configs/basic.yaml: not valid YAML"):
        load()


# Complaints about files


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("ta_weight", "ta_weigth", "11: loss.ta_weigth: unknown key; did you mean 'ta_weight'?"),
        (
            "ta_weight",
            "zzz",
            "11: loss.zzz: unknown key; known here: ta_weight, absent, amplitude_weight, phase_weight",
        ),
        ("loss:", "los:", "10: los: unknown key; did you mean 'loss'?"),
        ("  kind: grid", "  kind: grid\n  num_hads: 2", "10: model.num_hads: unknown key; did you mean 'num_heads'?"),
        (
            "  kind: grid",
            "  kind: compact\n  reinject_at: []",
            "10: model.reinject_at: unknown key; known here: kind, stft, feature_dim, lstm_hidden, num_layers",
        ),
        ("grid", "grit", "9: model.kind: expected 'grid' or 'compact', got 'grit'"),
        ("  kind: grid", "  num_heads: 4", "8: model.kind: expected 'grid' or 'compact', but it is missing"),
        ("model:\n  kind: grid", "", " model: missing; The network."),
        ("  kind: grid", "  kind: grid\n  stft: {n_fft: 2048, window: 960}", "10: model.stft.hop: missing; Shift"),
        ("1e-3", "fast", "13: train.learning_rate: expected a number, got 'fast'"),
        ("learning_rate: 1e-3", "batch_size: many", "13: train.batch_size: expected a whole number, got 'many'"),
        ("learning_rate: 1e-3", "batch_size: 2.5", "13: train.batch_size: expected a whole number, got 2.5"),
        ("learning_rate: 1e-3", "batch_size:", "13: train.batch_size: expected a whole number, got nothing"),
        ("learning_rate: 1e-3", "batch_size: true", "13: train.batch_size: expected a number, not true"),
        ("learning_rate: 1e-3", "batch_size: 0", "13: train.batch_size: must be at least 1, got 0"),
        ("learning_rate: 1e-3", "learning_rate: 0", "13: train.learning_rate: must be above 0, got 0"),
        ("learning_rate: 1e-3", "learning_rate: .inf", "13: train.learning_rate: must be a finite number, got inf"),
        ("learning_rate: 1e-3", "deterministic: 7", "13: train.deterministic: expected true or false, got 7"),
        ("learning_rate: 1e-3", "betas: [0.9]", "13: train.betas: expected a list of 2, got 1"),
        ("learning_rate: 1e-3", "betas: [0.9, 0.9, 0.9]", "13: train.betas: expected 2 in the list, got 3"),
        ("learning_rate: 1e-3", "betas: 0.9", "13: train.betas: expected a list of 2, got 0.9"),
        ("learning_rate: 1e-3", "betas: [0.9, 1]", "13: train.betas[1]: must be below 1, got 1"),
        (
            "learning_rate: 1e-3",
            "precision: half",
            "13: train.precision: expected 'auto', 'float32' or 'bfloat16', got 'half'",
        ),
        ("train:\n  learning_rate: 1e-3", "train:", "12: train: expected a section of 'key: value' lines, got nothing"),
        ("ta_weight: 0.2", "ta_weight: 1", "11: loss.ta_weight: must be below 1, got 1"),
        (
            "  ta_weight: 0.2",
            "  absent:\n    kind: hing",
            "12: loss.absent.kind: expected 'hinge', 'relative' or 'raw_db'",
        ),
        ("absent_ratio: 0.2", "absent_ratio: x", "7: curriculum[1].absent_ratio: expected a number, got 'x'"),
        ("name: tp_ta", "name: TP", "6: curriculum[1].name: must be lower-case letters, digits, '-' and '_', got 'TP'"),
        ("speech: corpora/vctk", "speech: [a, 3]", "3: data.speech[1]: expected a path, got 3"),
        ("speech: corpora/vctk", "speech: [a, {weight: 2}]", "3: data.speech[1].path: missing; Where the corpus is"),
        ("speech: corpora/vctk", "speech: {path: a, weight: 0}", "3: data.speech[0].weight: must be above 0, got 0"),
        ("speech: corpora/vctk", "speech: [{path: 3}]", "3: data.speech[0].path: expected a path, got 3"),
        ("speech: corpora/vctk", "speech: [{path: a, wait: 2}]", "3: data.speech[0].wait: unknown key"),
        (
            "speech: corpora/vctk",
            "speech: {path: a, weight: yes}",
            "3: data.speech[0].weight: expected a number or null",
        ),
        ("speech: corpora/vctk", "speech: []", "3: data.speech: expected at least 1 in the list, got 0"),
        (
            "  kind: grid",
            "  kind: grid\n  bands: x",
            "10: model.bands: expected 'hifi_tse_48k', a whole number or a list",
        ),
        ("  kind: grid", "  kind: grid\n  bands: 0", "10: model.bands: must be at least 1, got 0"),
        ("  kind: grid", "  kind: grid\n  bands: [[0]]", "10: model.bands[0]: expected a list of 2, got 1"),
        ("  kind: grid", "  kind: grid\n  bands: 999", "10: model.bands: 999 bands do not fit into 1025 bins"),
        ("until: 1000", "until: 999999", "4: curriculum: phase tp_ta starts at 999999, after train.total_steps 500000"),
        ("learning_rate: 1e-3", "batch_size: 1", "13: train: micro_batch_size 2 is above batch_size 1"),
    ],
)
def test_complaints_name_line_and_key(folder: Path, old: str, new: str, message: str) -> None:
    assert old in BASIC
    assert complaint(BASIC.replace(old, new, 1)).startswith(message)


def test_every_problem_has_its_line(folder: Path) -> None:
    text = BASIC.replace("ta_weight", "weight").replace("1e-3", "x").replace("speech", "speach")
    assert sorted(complaints(text)) == [
        "11: loss.weight: unknown key; did you mean 'ta_weight'?",
        "13: train.learning_rate: expected a number, got 'x'",
        "2: data.speech: missing; Speech corpora: folders laid out as <root>/<speaker>/**/<file>, JSONL manifests, or "
        "HDF5 files.",
        "3: data.speach: unknown key; did you mean 'speech'?",
    ]


def test_an_empty_file_says_what_is_missing(folder: Path) -> None:
    assert [line.split(";")[0] for line in complaints("")] == [
        " data: missing",
        " curriculum: missing",
        " model: missing",
    ]


# Overrides


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("seed=7", 7),
        ("loss.ta_weight=1e-2", 0.01),
        ("train.total_steps=600_000", 600_000),
        ("train.deterministic=true", True),
        ("train.precision=float32", "float32"),
        ("train.betas=[0.8, 0.9]", [0.8, 0.9]),
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


def test_corpora_with_weights_read_as_others_do(folder: Path) -> None:
    speech = "speech: [corpora/vctk, {path: ../b, weight: 2}, {path: ~/c}]"
    (folder / "configs/basic.yaml").write_text(BASIC.replace("speech: corpora/vctk", speech))
    config = load("data.noise={path: here, weight: 0.5}")
    weighted = (WeightedCorpus(path=folder / "b", weight=2), WeightedCorpus(path=Path.home() / "c"))
    assert config.data.speech == (folder / "configs/corpora/vctk", *weighted)
    assert config.data.noise == (WeightedCorpus(path=folder / "here", weight=0.5),)
    (folder / "dumped.yaml").write_text(dump_config(config))
    assert load_config(folder / "dumped.yaml") == config
    assert load("data.speech.1.weight=3").data.speech[1] == WeightedCorpus(path=folder / "b", weight=3)


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
        ("train.batch_size=null", "--set train.batch_size=null: expected a whole number, not null"),
        ("curriculum.tp.name=null", "--set curriculum.tp.name=null: expected text, not null"),
        ("health.guards.low.below=1", "--set health.guards.low.below=1: unknown entry 'low'; known here: level_low"),
        ("health.guards.level_low.above=1", "--set health.guards.level_low.above=1: health.guards[0]: guard level_low"),
        ("data.noise=null", "--set data.noise=null: expected a list, not null; [] is the empty list"),
        ("train.batch_size=true", "--set train.batch_size=true: expected a whole number, got 'true'"),
        ("train=3", "--set train=3: expected a section of 'key: value' lines, got '3'"),
        ("mixing.sir_db=3", "--set mixing.sir_db=3: expected a list of 2, got '3'"),
        ("mixing.sir_db=[1, 2", "--set mixing.sir_db=[1, 2: value:1: not valid YAML"),
        ("mixing.sir_db=[2, 1]", "--set mixing.sir_db=[2, 1]: a range goes from low to high"),
        ("curriculum.tpp.until=3", "--set curriculum.tpp.until=3: unknown entry 'tpp'; did you mean 'tp'?"),
        ("curriculum.5.until=3", "--set curriculum.5.until=3: unknown entry '5'; known here: tp, tp_ta"),
        ("curriculum.tp.until=x", "--set curriculum.tp.until=x: curriculum[0].until: expected a whole number or null"),
        ("model.kind=grit", "--set model.kind=grit: expected 'grid' or 'compact', got 'grit'"),
        ("model={hidden: 3}", "--set model={hidden: 3}: model.kind: expected 'grid' or 'compact', but it is missing"),
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


# Writing and comparing

numbers = st.floats(0.001, 0.9)
names = st.text("abcdefghij0123456789_e-", min_size=1, max_size=6).filter(lambda name: name[0] not in "_-")
texts = st.text(st.characters(blacklist_categories=("Cs",)), min_size=1, max_size=8)
ranges = st.tuples(st.floats(-40, 0), st.floats(0, 40))


@st.composite
def configs(draw: st.DrawFn) -> Config:
    """Draw valid configurations that are unlike the defaults."""
    phase_names = draw(st.lists(names, min_size=1, max_size=4, unique=True))
    last = len(phase_names) - 1
    phases = [
        {
            "name": name,
            "until": None if i == last else 10 * (i + 1),
            "absent_ratio": draw(numbers),
            "sir_db": draw(st.none() | ranges),
        }
        for i, name in enumerate(phase_names)
    ]
    folders = st.lists(texts.filter(lambda text: "\0" not in text), min_size=1, max_size=2)
    model = draw(
        st.sampled_from(
            [
                {"kind": "compact", "feature_dim": 7},
                {"kind": "grid", "bands": 12},
                {"kind": "grid", "bands": ((0, 600), (601, 1024))},
                {"kind": "grid", "reinject_at": ()},
            ]
        )
    )
    data = {
        "seed": draw(st.integers(0, 2**63)),
        "data": {
            "speech": [Path("/", text) for text in draw(folders)],
            "exclude": draw(st.lists(texts, max_size=2)),
            "simulated_rooms": draw(st.none() | st.just({"num_rooms": 3})),
        },
        "curriculum": phases,
        "model": model,
        "loss": {"ta_weight": draw(numbers), "amplitude_weight": draw(st.floats(0, 1e20))},
        "selection": {"require": draw(st.lists(st.sampled_from(["rms_ratio>=.8", "val_loss <= -1e3"])))},
    }
    return Config.model_validate(data)


@settings(max_examples=60, deadline=None)
@given(config=configs())
def test_what_is_written_reads_back_equal(config: Config, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("config") / "config.yaml"
    path.write_bytes(dump_config(config).encode())
    assert load_config(path) == config
    assert from_data(json.loads(json.dumps(to_data(config))), "checkpoint") == config
    assert config_changes(config, config) == []


@pytest.mark.parametrize(
    "text", ["\x85", "a\u2028b", "\ufeff", "\n", "a\r\nb", "1e3", "null", "no", "0o7", "- a", "ä: #"]
)
def test_awkward_text_reads_back_equal(text: str) -> None:
    assert read_yaml(write_yaml({"a": [text], "b": text}).encode(), "here")[0] == {"a": [text], "b": text}


def test_dump_is_for_people(folder: Path) -> None:
    text = dump_config(load())
    assert list(yaml.safe_load(text)) == list(Config.model_fields)
    assert "  betas: [0.8, 0.99]\n" in text
    assert "- name: tp\n  until: 1000\n" in text


def test_stored_data_that_does_not_fit_names_its_source(folder: Path) -> None:
    data = to_data(load())
    data["loss"]["ta_wait"] = 1
    with pytest.raises(
        ConfigError, match=r"^step_3\.safetensors: loss\.ta_wait: unknown key; did you mean 'ta_weight'\?"
    ):
        from_data(data, "step_3.safetensors")


def test_changes_are_named_like_overrides(folder: Path) -> None:
    old, new = load(), load("curriculum.tp.until=5", "loss.absent.kind=relative", "mixing.sir_db=[0, 1]")
    assert config_changes(old, new) == [
        Change("mixing.sir_db", [-5.0, 5.0], [0.0, 1.0]),
        Change("curriculum.tp.until", 1000, 5),
        Change("loss.absent.kind", "hinge", "relative"),
    ]
    backwards = [(change.key, change.new, change.old) for change in config_changes(new, old)]
    assert backwards == [astuple(change) for change in config_changes(old, new)]


def test_changes_between_kinds_and_phases(folder: Path) -> None:
    old, new = load(), load("model.kind=compact", "curriculum=[{name: all, absent_ratio: 0.1}]")
    changes = {change.key: (change.old, change.new) for change in config_changes(old, new)}
    assert changes["model.kind"] == ("grid", "compact")
    assert changes["model.num_mels"] == (None, 64)
    assert changes["model.bands"] == ("hifi_tse_48k", None)
    assert changes["curriculum.all.absent_ratio"] == (None, 0.1)
    assert changes["curriculum.tp.until"] == (1000, None)


def test_reading_a_config_imports_no_torch() -> None:
    heavy = "{'torch', 'torchaudio', 'scipy', 'numpy', 'matplotlib', 'safetensors', 'tensorboard'}"
    code = f"import sys, hifitse.config.files; print(sorted({heavy} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
