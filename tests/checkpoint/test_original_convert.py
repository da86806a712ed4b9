"""Every tensor of the original arrives under its own name, exactly; every wrong one is named."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from hifitse.checkpoint.original_convert import convert
from hifitse.checkpoint.original_file import Original, read_original
from hifitse.checkpoint.original_network import Sizes, differences, sizes
from hifitse.config.files import load_config
from hifitse.config.model import CompactConfig, GridConfig, StftConfig
from hifitse.config.schema import Config
from hifitse.errors import CheckpointError, ConfigError
from hifitse.models.build import build_model

ORIGINAL = Path(__file__).parents[1] / "data" / "original"
CHECKPOINT = ORIGINAL / "tiny_checkpoint_0200000.pt"
NAME = "gridnet.blocks.1.time_proj.weight"
"""One of the tensors, of shape (16, 24)."""


@pytest.fixture
def config() -> Config:
    return load_config(ORIGINAL / "tiny.yaml")


@pytest.fixture(scope="module")
def _original() -> Original:
    return read_original(CHECKPOINT)


@pytest.fixture
def original(_original: Original) -> Original:
    """What the original's own checkpoint holds; tensors may be replaced, but not changed."""
    adamw = _original.adamw
    assert adamw
    moments = {position: dict(parts) for position, parts in adamw.moments.items()}
    return replace(
        _original, weights=dict(_original.weights), ema=dict(_original.ema), adamw=replace(adamw, moments=moments)
    )


def test_every_tensor_arrives_under_its_name(original: Original, config: Config) -> None:
    content = torch.load(CHECKPOINT, weights_only=True)
    converted = convert(original, config)
    tensors = converted.tensors
    assert len(tensors) == 400 * 5
    for number, (name, weight) in enumerate(content["generator"].items()):
        assert torch.equal(tensors[f"model/{name}"], weight)
        assert torch.equal(tensors[f"ema/{name}"], content["ema_generator"][f"module.{name}"])
        for key, moment in content["opt_G"]["state"][number].items():
            assert torch.equal(tensors[f"optimizer/{name}/{key}"], moment)
    assert (converted.header.step, converted.header.optimizer_reset_step) == (200_000, 0)
    assert converted.num_parameters == 102_140


def test_moments_go_by_the_numbers_that_the_optimizer_gave(original: Original, tmp_path: Path) -> None:
    content = torch.load(CHECKPOINT, weights_only=True)
    state, (group,) = content["opt_G"]["state"], content["opt_G"]["param_groups"]
    numbers = [1000 - number for number in group["params"]]
    groups = [{**group, "params": numbers[:7]}, {**group, "params": numbers[7:]}]
    content["opt_G"] = {"state": {1000 - number: state[number] for number in state}, "param_groups": groups}
    torch.save(content, tmp_path / "renumbered.pt")
    renumbered = read_original(tmp_path / "renumbered.pt").adamw
    assert renumbered and original.adamw
    for position, moments in original.adamw.moments.items():
        assert all(torch.equal(renumbered.moments[position][key], moment) for key, moment in moments.items())


def test_moments_follow_the_order_of_the_saved_weights(original: Original, config: Config) -> None:
    adamw = original.adamw
    assert adamw
    names = list(original.weights)
    backwards = replace(
        original,
        weights={name: original.weights[name] for name in reversed(names)},
        adamw=replace(adamw, moments={len(names) - 1 - i: moments for i, moments in adamw.moments.items()}),
    )
    expected = convert(original, config).tensors
    assert all(torch.equal(tensor, expected[name]) for name, tensor in convert(backwards, config).tensors.items())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_keeps_its_values_and_is_reported(
    original: Original, config: Config, dtype: torch.dtype
) -> None:
    halves = {name: tensor.to(dtype) for name, tensor in original.weights.items()}
    converted = convert(replace(original, weights=halves), config)
    for name, tensor in halves.items():
        assert converted.tensors[f"model/{name}"].dtype == torch.float32
        assert torch.equal(converted.tensors[f"model/{name}"], tensor.float())
    assert f"400 of its 2000 tensors are {str(dtype)[6:]}" in converted.notes[0]


def test_without_moments_the_optimizer_starts_afresh_and_rises_slowly(original: Original, config: Config) -> None:
    converted = convert(replace(original, adamw=None), config)
    assert not any(name.startswith("optimizer/") for name in converted.tensors)
    assert converted.header.optimizer_reset_step == 200_000
    assert "no AdamW moments" in converted.notes[0]


def test_the_settings_of_adamw_are_ours_and_what_differs_is_reported(original: Original, config: Config) -> None:
    notes = " ".join(convert(original, config).notes)
    assert "learning rate at step 200000: 0.000136 as configured, not 0.00016" in notes
    assert not any(name in notes for name in ("betas", "weight_decay", "train.learning_rate"))
    assert original.adamw
    other = replace(original.adamw, betas=(0.9, 0.999), weight_decay=0.1, peak_learning_rate=1e-3)
    notes = " ".join(convert(replace(original, adamw=other), config).notes)
    assert "train.optimizer.betas: (0.8, 0.99) as configured, not (0.9, 0.999)" in notes
    assert "train.optimizer.weight_decay: 0.01 as configured, not 0.1" in notes
    assert "train.learning_rate: 0.0002 as configured, not 0.001" in notes


def test_weights_that_share_memory_arrive_separate(original: Original, config: Config) -> None:
    # A GPU keeps all weights of an LSTM in one buffer; and nothing says that the EMA weight is another tensor.
    weights = original.weights
    names = [name for name in weights if "freq_lstm" in name]
    buffer = torch.cat([weights[name].flatten() for name in names])
    parts = buffer.split([weights[name].numel() for name in names])
    weights |= {name: part.view(weights[name].shape) for name, part in zip(names, parts, strict=True)}
    tensors = convert(replace(original, ema=weights), config).tensors
    assert len({tensor.untyped_storage().data_ptr() for tensor in tensors.values()}) == len(tensors)
    assert all(torch.equal(tensors[f"ema/{name}"], weight) for name, weight in weights.items())


def moments_of(original: Original) -> dict[int, dict[str, Any]]:
    assert original.adamw
    return original.adamw.moments


NAN = torch.zeros(16, 24)
NAN[3, 5] = torch.nan
WRONG: dict[str, tuple[Callable[[Original], object], str]] = {
    "missing": (lambda o: o.weights.pop(NAME), f"model/{NAME}: missing"),
    "unknown": (lambda o: o.weights.update(extra=torch.ones(1)), "model/extra: unknown"),
    "misshapen": (
        lambda o: o.weights.update({NAME: torch.ones(16, 23)}),
        f"model/{NAME}: shape (16, 23), should be (16, 24)",
    ),
    "not finite": (lambda o: o.weights.update({NAME: NAN}), f"model/{NAME}: not finite"),
    "no float": (lambda o: o.weights.update({NAME: NAN.int()}), f"model/{NAME}: int32, should be float32"),
    "no tensor": (lambda o: o.weights.update({NAME: "text"}), f"model/{NAME}: a str, should be a dense tensor"),
    "sparse": (
        lambda o: o.weights.update({NAME: NAN.to_sparse_coo()}),
        f"model/{NAME}: a Tensor, should be a dense tensor",
    ),
    "missing EMA weight": (lambda o: o.ema.pop(NAME), f"ema/{NAME}: missing"),
    "missing moment": (
        lambda o: moments_of(o)[0].pop("exp_avg_sq"),
        "optimizer/encoder.norms.0.weight/exp_avg_sq: missing",
    ),
    "misshapen moment": (
        lambda o: moments_of(o)[399].update(exp_avg=torch.ones(2)),
        "optimizer/decoder.projections.52.bias/exp_avg: shape (2,), should be (72,)",
    ),
    "moment of nothing": (
        lambda o: moments_of(o).update({400: {"exp_avg": torch.ones(1)}}),
        "optimizer/parameter 400/exp_avg: unknown",
    ),
}


@pytest.mark.parametrize(("change", "line"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_tensor_is_named(
    original: Original, config: Config, change: Callable[[Original], object], line: str
) -> None:
    change(original)
    with pytest.raises(CheckpointError) as raised:
        convert(original, config)
    assert str(raised.value).splitlines()[1:] == [f"  {line}"]


def test_all_wrong_tensors_are_named_together(original: Original, config: Config) -> None:
    missing = list(original.weights)[::50]
    for name in missing:
        del original.weights[name]
    original.weights["extra"] = moments_of(original)[5]["extra"] = torch.ones(1)
    with pytest.raises(CheckpointError) as raised:
        convert(original, config)
    expected = [f"  model/{name}: missing" for name in missing]
    expected += ["  model/extra: unknown", "  optimizer/encoder.norms.2.bias/extra: unknown"]
    assert str(raised.value).splitlines()[1:] == expected


GRIDS = [
    GridConfig(kind="grid", feature_dim=8, lstm_hidden=6, num_blocks=1, reinject_at=()),
    GridConfig(kind="grid", feature_dim=12, lstm_hidden=12, num_blocks=3, reinject_at=(0, 2), num_heads=3),
    GridConfig(kind="grid", feature_dim=8, bands=1, stft=StftConfig(n_fft=64, window=64, hop=16), num_blocks=6),
    GridConfig(kind="grid", feature_dim=8, bands=20, stft=StftConfig(n_fft=512, window=400, hop=100)),
]


def shapes_of(model: GridConfig | CompactConfig) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in build_model(model, 8000).state_dict().items()}


@pytest.mark.parametrize("model", GRIDS)
def test_the_sizes_of_a_network_are_found_whichever_tensor_is_missing(model: GridConfig) -> None:
    shapes = shapes_of(model)
    widths = tuple(last - first + 1 for first, last in model.band_layout)
    expected = Sizes(model.feature_dim, model.lstm_hidden, model.num_blocks, model.reinject_at, widths)
    assert sizes(shapes) == expected
    assert differences(model, expected) == []
    for name in list(shapes)[:: max(len(shapes) // 25, 1)]:
        assert sizes({key: shape for key, shape in shapes.items() if key != name}) == expected, name


def test_another_architecture_has_no_sizes() -> None:
    assert sizes(shapes_of(CompactConfig(kind="compact"))) is None
    assert sizes({}) is None


@pytest.mark.parametrize("model", GRIDS)
def test_the_overrides_that_are_proposed_make_the_network_fit(model: GridConfig) -> None:
    found = sizes(shapes_of(model))
    assert found
    # Only the named layout tells its STFT; others are compared under the configured one.
    stft = model.stft if isinstance(model.bands, int) else StftConfig(n_fft=1024, window=960, hop=480)
    start = [f"model.stft={{n_fft: {stft.n_fft}, window: {stft.window}, hop: {stft.hop}}}", "model.bands=7"]
    lines = differences(load_config(ORIGINAL / "tiny.yaml", start).model, found)
    fixes = [line.partition("--set ")[2].strip("'") for line in lines]
    assert differences(load_config(ORIGINAL / "tiny.yaml", start + fixes).model, found) == []


def test_differing_bands_without_a_layout_of_ours_are_named_by_their_widths(config: Config) -> None:
    found = Sizes(16, 12, 2, (0, 1), (1000, 30))
    (line,) = differences(config.model, found)
    assert line.startswith("model.bands: 53 bands configured, 2 in the file")
    assert line.endswith("1000, 30")


def test_a_network_of_other_sizes_is_a_configuration_error_with_all_overrides(config: Config) -> None:
    other = load_config(ORIGINAL / "tiny.yaml", ["model.kind=compact"])
    with pytest.raises(ConfigError) as raised:
        convert(read_original(CHECKPOINT), other)
    fixes = [line.partition("--set ")[2].strip("'") for line in str(raised.value).splitlines()[1:]]
    fixed = load_config(ORIGINAL / "tiny.yaml", ["model.kind=compact", *fixes, "model.num_heads=2"])
    assert fixed.model == config.model
    assert convert(read_original(CHECKPOINT), fixed).num_parameters == 102_140
