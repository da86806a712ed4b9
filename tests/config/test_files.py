"""Configuration files: what people wrote and what they meant; and that what is written reads back equal."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from hifitse.config.changes import config_changes
from hifitse.config.data import WeightedCorpus
from hifitse.config.files import BUNDLED, dump_config, find_config, from_data, load_config, to_data
from hifitse.config.schema import Config
from hifitse.errors import ConfigError
from tests.config.basic import BASIC, load

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


def test_missing_or_unreadable_files(folder: Path) -> None:
    with pytest.raises(
        ConfigError, match=rf"^none\.yaml: no such configuration in {folder}; .*demo.* come with hifitse$"
    ):
        load_config(Path("none.yaml"))
    with pytest.raises(ConfigError, match=r"^/none\.yaml: no such configuration; "):
        load_config(Path("/none.yaml"))
    with pytest.raises(ConfigError, match="^configs: is a folder; name the file"):
        load_config(Path("configs"))


def test_a_bundled_configuration_goes_by_its_name_unless_a_file_has_it(folder: Path) -> None:
    assert find_config(Path("demo")) == BUNDLED / "configs" / "demo.yaml"
    assert load_config("demo") == load_config(BUNDLED / "configs" / "demo.yaml")
    Path("demo").write_text(BASIC)
    assert load_config("demo").seed == 1 and find_config(Path("demo")) == Path("demo")


def test_paths_may_use_variables(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORPORA", str(folder / "corpora"))
    speech = "speech: ['${CORPORA}/a', $CORPORA/b, {path: '${HIFITSE_DEMO}/speech', weight: 2}]"
    (folder / "configs/basic.yaml").write_text(BASIC.replace("speech: corpora/vctk", speech))
    data = load("data.noise=${CORPORA}/n").data
    demo = WeightedCorpus(path=BUNDLED / "demo_corpus" / "speech", weight=2)
    assert data.speech == (folder / "corpora" / "a", folder / "corpora" / "b", demo)
    assert data.noise == (folder / "corpora" / "n",)
    monkeypatch.setenv("HIFITSE_DEMO", str(folder))
    assert load().data.speech[2] == WeightedCorpus(path=folder / "speech", weight=2), "the environment comes first"


def test_a_variable_that_is_not_set_is_named_with_its_place(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"^--set data\.noise=\$\{NONE\}/n: .*there is no environment variable NONE"):
        load("data.noise=${NONE}/n")
    assert load("data.noise=$NONE/n").data.noise == (folder / "$NONE/n",), "without braces it may be a name"
    (folder / "configs/basic.yaml").write_text(BASIC.replace("corpora/vctk", "${NONE}/x"))
    with pytest.raises(
        ConfigError, match=r"^configs/basic\.yaml: data\.speech: .*there is no environment variable NONE"
    ):
        load()


def test_one_value_stands_for_a_list_of_one_and_null_for_an_empty_one(folder: Path) -> None:
    text = BASIC.replace("speech: corpora/vctk", "speech: a\n  noise: {path: n}\n  rir:\n  exclude: '*.x'")
    (folder / "configs/basic.yaml").write_text(text + "selection: {require: rms_ratio>=0.9}\n")
    config = load()
    assert config.data.speech == (folder / "configs/a",)
    assert config.data.noise == (WeightedCorpus(path=folder / "configs/n"),)
    assert (config.data.rir, config.data.exclude) == ((), ("*.x",))
    assert config.selection.require == ("rms_ratio>=0.9",)


# Extending


def test_a_file_says_only_what_differs_from_the_one_that_it_extends(folder: Path) -> None:
    (folder / "mine.yaml").write_text("extends: configs/basic.yaml\nloss: {phase_weight: 3}\ndata: {noise: here}\n")
    base, mine = load(), load_config("mine.yaml", ["train.batch_size=4"])
    assert {change.key: change.new for change in config_changes(base, mine)} == {
        "data.noise": [str(folder / "here")],
        "loss.phase_weight": 3.0,
        "train.batch_size": 4,
    }
    assert mine.data.speech == (folder / "configs/corpora/vctk",), "its paths start where they stand"
    (folder / "sub").mkdir()
    (folder / "sub/again.yaml").write_text("extends: ../mine.yaml\nseed: 5\nmodel: {kind: compact}\n")
    again = load_config("sub/again.yaml")
    assert (again.seed, again.loss.phase_weight, again.loss.ta_weight) == (5, 3.0, 0.2)
    assert again.model.kind == "compact", "a section of another kind is replaced"


def test_lists_are_replaced_as_a_whole(folder: Path) -> None:
    Path("mine.yaml").write_text("extends: configs/basic.yaml\ncurriculum: [{name: all, absent_ratio: 0.1}]\n")
    assert [phase.name for phase in load_config("mine.yaml").curriculum] == ["all"]


def test_files_that_extend_each_other_are_named(folder: Path) -> None:
    Path("mine.yaml").write_text("extends: other.yaml")
    Path("other.yaml").write_text("seed: 1\nextends: mine.yaml")
    with pytest.raises(ConfigError, match=r"^other\.yaml:2: extends: mine\.yaml extends this file in turn$"):
        load_config("mine.yaml")


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


# Writing

numbers = st.floats(0.001, 0.9)
names = st.text("abcdefghij0123456789_e-", min_size=1, max_size=6).filter(lambda name: name[0] not in "_-")
texts = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), min_size=1, max_size=8)
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
    folders = st.lists(texts, min_size=1, max_size=2)
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
        "seed": draw(st.integers(0, 2**63 - 1)),
        "data": {
            "speech": [Path("/", text) for text in draw(folders)],
            "exclude": draw(st.lists(texts, max_size=2)),
            "simulated_rooms": draw(st.none() | st.just({"num_rooms": 3})),
        },
        "curriculum": phases,
        "model": model,
        "loss": {"ta_weight": draw(numbers), "amplitude_weight": draw(st.floats(0, 1e6))},
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


def test_reading_a_config_imports_no_torch() -> None:
    heavy = "{'torch', 'torchaudio', 'scipy', 'numpy', 'matplotlib', 'safetensors', 'tensorboard'}"
    code = f"import sys, hifitse.config.files; print(sorted({heavy} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
