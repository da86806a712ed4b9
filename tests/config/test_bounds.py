"""Every number and every list of the configuration has an upper bound, and so has what several of them make up."""

from collections.abc import Iterator
from typing import Any

import pytest

from hifitse.config.files import load_config
from hifitse.config.schema import Config
from hifitse.errors import ConfigError
from hifitse.models.build import build_model, num_parameters


def unbounded(schema: Any, path: str = "") -> Iterator[str]:
    """Yield where in a JSON Schema a number or a list may be of any size."""
    if isinstance(schema, dict):
        if schema.get("type") in ("number", "integer") and not schema.keys() & {"maximum", "exclusiveMaximum", "const"}:
            yield path
        if schema.get("type") == "array" and "maxItems" not in schema:
            yield path
    parts = schema.items() if isinstance(schema, dict) else enumerate(schema) if isinstance(schema, list) else ()
    for key, part in parts:
        yield from unbounded(part, f"{path}.{key}")


def test_every_number_and_every_list_has_an_upper_bound() -> None:
    assert list(unbounded({"type": "object", "properties": {"x": {"type": "integer"}}})) == [".properties.x"]
    assert list(unbounded(Config.model_json_schema())) == []


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("train.total_steps=9223372036854775808", "train.total_steps=9223372036854775808: must be at most 99999999"),
        ("seed=" + "9" * 4000, "must be below 9223372036854775808"),
        ("seed=" + "9" * 5000, "--set seed=999"),
        ("data.num_workers=1000000", "must be at most 256"),
        ("data.prefetch=1000000000", "must be at most 256"),
        ("train.cpu_threads=1000000", "must be at most 1024"),
        ("data.simulated_rooms={num_rooms: 1000000000}", "num_rooms: must be at most"),
        ("data.simulated_rooms={rt60_seconds: [1, 100]}", "rt60_seconds[1]: must be at most 1.5"),
        ("data.simulated_rooms={rt60_seconds: [0.5, 1.0], size_meters: [1.5, 3]}", "would take many GB for each"),
        ("train.batch_size=1000000000", "must be at most 10000"),
        ("validation.num_scenes=1000000000", "must be at most 100000"),
        ("audio.mixture_seconds=1e308", "must be at most 600"),
        ("mixing.snr_db=[-5000, 0]", "mixing.snr_db[0]: must be at least -120, got -5000"),
        ("mixing.peak_limit=1e-300", "must be at least 0.01, got 1e-300"),
        ("model.num_layers=1000000", "must be at most 64"),
        ("model={kind: compact, lstm_hidden: 4096, feature_dim: 4096, num_layers: 64}", "about 1.9e+10 weights"),
        ("model={kind: grid, lstm_hidden: 4096, feature_dim: 4096}", "about 4.1e+09 weights"),
        ("audio={sample_rate: 192000, mixture_seconds: 600, reference_seconds: 600}", "takes 111 GB"),
        ("health.guards.level_low.below=1e300", "must be at most 1e+06, got 1e300"),
        ("selection.require=[rms_ratio>=1e" + "9" * 200 + "]", "selection.require"),
        ("loss.absent.target_db=-1e9", "must be at least -120"),
    ],
)
def test_what_would_hang_or_fill_the_memory_is_refused(override: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config("demo", [override])
    assert said in str(caught.value)
    assert all(len(line) < 600 for line in str(caught.value).splitlines())


@pytest.mark.parametrize(
    "overrides",
    [
        ("hifi_tse",),
        ("hifi_tse", "model.feature_dim=32", "model.lstm_hidden=512"),
        ("demo", "model.num_layers=8"),
        ("demo", "model.lstm_hidden=512", "model.feature_dim=64"),
    ],
)
def test_the_estimated_size_of_a_network_is_about_right(overrides: tuple[str, ...]) -> None:
    config = load_config(overrides[0], overrides[1:])
    real = num_parameters(build_model(config.model, config.audio.sample_rate))
    assert config.model.num_weights == pytest.approx(real, rel=0.3)
