"""The grid model is the original's generator, and behaves at any length, batch, precision and sample rate."""

from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor, nn

from hifitse.config.bands import hifi_tse_48k
from hifitse.config.model import GridConfig, StftConfig
from hifitse.models.build import build_model, num_parameters

ORIGINAL = Path(__file__).parents[1] / "data" / "original"
SMALL = GridConfig(
    kind="grid",
    stft=StftConfig(n_fft=256, window=256, hop=128),
    bands=8,
    feature_dim=8,
    lstm_hidden=6,
    num_blocks=2,
    num_heads=2,
    reinject_at=(0, 1),
)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def stirred(config: GridConfig = SMALL, seed: int = 0) -> nn.Module:
    """Return a model that is away from its pass-through start."""
    torch.manual_seed(seed)
    model = build_model(config, 48000)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model.eval()


def expected_state(dim: int, hidden: int, blocks: int) -> list[tuple[str, tuple[int, ...]]]:
    """Return keys and shapes as the table in the original's specification lists them."""
    widths = [last - first + 1 for first, last in hifi_tse_48k()]

    def linear(name: str, outputs: int, inputs: int) -> list[tuple[str, tuple[int, ...]]]:
        return [(f"{name}.weight", (outputs, inputs)), (f"{name}.bias", (outputs,))]

    def norm(name: str, size: int) -> list[tuple[str, tuple[int, ...]]]:
        return [(f"{name}.weight", (size,)), (f"{name}.bias", (size,))]

    def attention(name: str) -> list[tuple[str, tuple[int, ...]]]:
        packed = [(f"{name}.in_proj_weight", (3 * dim, dim)), (f"{name}.in_proj_bias", (3 * dim,))]
        return packed + linear(f"{name}.out_proj", dim, dim)

    def lstm(name: str) -> list[tuple[str, tuple[int, ...]]]:
        shapes = {"weight_ih": (4 * hidden, dim), "weight_hh": (4 * hidden, hidden)}
        shapes |= {"bias_ih": (4 * hidden,), "bias_hh": (4 * hidden,)}
        return [(f"{name}.{key}_l0{suffix}", shape) for suffix in ("", "_reverse") for key, shape in shapes.items()]

    state = [entry for i, w in enumerate(widths) for entry in norm(f"encoder.norms.{i}", 2 * w)]
    state += [entry for i, w in enumerate(widths) for entry in linear(f"encoder.projections.{i}", dim, 2 * w)]
    state += attention("usef.cross_attn") + norm("usef.norm", dim)
    state += linear("film.gamma_proj", dim, dim) + linear("film.beta_proj", dim, dim)
    for b in range(blocks):
        block = f"gridnet.blocks.{b}"
        for axis in ("freq", "time"):
            state += lstm(f"{block}.{axis}_lstm") + linear(f"{block}.{axis}_proj", dim, 2 * hidden)
            state += norm(f"{block}.{axis}_norm", dim)
        state += attention(f"{block}.self_attn") + norm(f"{block}.attn_norm", dim)
    for r in range(blocks):
        layer = f"gridnet.reinject_layers.{r}"
        state += attention(f"{layer}.cross_attn") + norm(f"{layer}.norm", dim)
    return state + [e for i, w in enumerate(widths) for e in linear(f"decoder.projections.{i}", 2 * w, dim)]


def test_full_size_has_the_original_tensors_in_order() -> None:
    model = build_model(GridConfig(kind="grid"), 48000)
    state = [(key, tuple(tensor.shape)) for key, tensor in model.state_dict().items()]
    assert state == expected_state(dim=128, hidden=256, blocks=6)
    assert [name for name, _ in model.named_parameters()] == [key for key, _ in state]
    assert len(state) == 544
    assert num_parameters(model) == 11_785_196


@pytest.mark.parametrize(("weights", "output"), [("generator", "estimate"), ("ema_generator", "estimate_ema")])
def test_computes_what_the_original_computes(weights: str, output: str) -> None:
    theirs = yaml.safe_load((ORIGINAL / "tiny_config.yaml").read_text())
    sizes = theirs["model"]
    config = GridConfig(
        kind="grid",
        bands=tuple(tuple(band) for band in theirs["band_split"]["bands"]),
        feature_dim=sizes["feature_dim"],
        lstm_hidden=sizes["lstm_hidden"],
        num_blocks=sizes["num_gridnet_blocks"],
        num_heads=sizes["num_heads"],
        reinject_at=tuple(sizes["reinject_at"]),
    )
    model = build_model(config, 48000)
    saved = torch.load(ORIGINAL / "tiny_checkpoint_0200000.pt", weights_only=True)[weights]
    state = {key.removeprefix("module."): tensor for key, tensor in saved.items() if key != "n_averaged"}
    assert list(state) == list(model.state_dict())
    model.load_state_dict(state)
    forward = load_file(ORIGINAL / "tiny_forward.safetensors")
    for mode in (model.eval(), model.train()):
        estimate = mode(forward["mixture"], forward["reference"])
        torch.testing.assert_close(estimate, forward[output], rtol=0, atol=1e-5)


def test_starts_as_a_pass_through() -> None:
    mixture = noise(2, 4000)
    estimate = build_model(SMALL, 48000)(mixture, noise(2, 3000, seed=1))
    torch.testing.assert_close(estimate, mixture, rtol=0, atol=1e-3)


@pytest.mark.parametrize("extra", [127, 126, 120])
def test_no_spike_at_the_end(extra: int) -> None:
    model = stirred()
    with torch.no_grad():
        for projection in model.decoder.projections:  # type: ignore[union-attr]
            projection.weight.normal_(std=0.3)
        estimate = model(noise(2, 4096 + extra), noise(2, 3000, seed=1))
    assert estimate[:, -128:].abs().max() < 2 * estimate[:, 128:-128].abs().max()


def test_a_silent_reference_is_zeroed_conditioning() -> None:
    model, mixture = stirred(), noise(2, 2000)
    silent = model(mixture, torch.zeros(2, 1500))
    assert (silent - model(mixture, noise(2, 1500, seed=1))).abs().max() > 1e-4
    # The same through the original's own way: the encoder's features of the reference times zero.
    num_calls = 0

    def zero_the_first(_module: nn.Module, _args: object, output: Tensor) -> Tensor:
        nonlocal num_calls
        num_calls += 1
        return output * (num_calls > 1)

    model.encoder.register_forward_hook(zero_the_first)  # type: ignore[union-attr]
    torch.testing.assert_close(model(mixture, noise(2, 1500, seed=1)), silent, rtol=0, atol=0)
    assert num_calls == 2


def test_activation_checkpointing_changes_no_gradient() -> None:
    gradients = []
    for recompute in (False, True):
        model = stirred(SMALL.model_copy(update={"activation_checkpointing": recompute})).train()
        model(noise(2, 2000), noise(2, 1500, seed=1)).square().mean().backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    for plain, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(recomputed, plain, rtol=0, atol=0)


def test_bfloat16_autocast_is_close_and_gives_float32() -> None:
    model, mixture, reference = stirred().train(), noise(2, 2000), noise(2, 1500, seed=1)
    exact = model(mixture, reference)
    with torch.autocast("cpu", torch.bfloat16):
        estimate = model(mixture, reference)
    assert estimate.dtype == torch.float32
    assert (estimate - exact).norm() < 0.05 * exact.norm()
    estimate.square().mean().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in model.parameters())


@pytest.mark.parametrize(
    ("n_fft", "window", "hop", "bands"), [(320, 320, 160, 10), (512, 400, 100, 20), (64, 64, 16, 1)]
)
def test_other_sample_rates_with_generated_bands(n_fft: int, window: int, hop: int, bands: int) -> None:
    stft = StftConfig(n_fft=n_fft, window=window, hop=hop)
    config = GridConfig(kind="grid", stft=stft, bands=bands, feature_dim=4, lstm_hidden=4, num_blocks=1, reinject_at=())
    model, mixture = build_model(config, 48000), noise(1, 1600)
    torch.testing.assert_close(model(mixture, noise(1, 1600, seed=1)), mixture, rtol=0, atol=1e-3)


def normalizing() -> nn.Module:
    return stirred(SMALL.model_copy(update={"normalize_level": True}))


@pytest.mark.parametrize("gain", [1e-3, 0.25, 64.0])
def test_with_normalized_levels_the_output_follows_the_gain_of_the_mixture_alone(gain: float) -> None:
    model, mixture, reference = normalizing(), noise(2, 2000), noise(2, 1500, seed=1)
    estimate = model(mixture, reference)
    torch.testing.assert_close(model(gain * mixture, reference), gain * estimate, rtol=1e-3, atol=gain * 1e-5)
    torch.testing.assert_close(model(mixture, gain * reference), estimate, rtol=1e-3, atol=1e-5)
    if gain < 0.01:
        without = stirred()
        change = without(gain * mixture, reference) - gain * without(mixture, reference)
        assert change.norm() > 0.01 * gain * estimate.norm(), "nothing to normalize: the network sees no levels"


def test_normalizing_keeps_silence_and_the_absent_reference() -> None:
    model, silent = normalizing(), torch.zeros(1, 2000)
    assert not model(silent, noise(1, 1500, seed=1)).any()
    assert torch.isfinite(model(noise(1, 2000), silent)).all()
    plain = stirred()
    mixture = noise(1, 2000)
    mixture /= mixture.square().mean().sqrt()
    torch.testing.assert_close(model(mixture, silent), plain(mixture, silent), rtol=1e-4, atol=1e-5)


def test_normalizing_has_no_weights_and_is_off_unless_asked_for() -> None:
    assert not GridConfig(kind="grid").normalize_level
    assert normalizing().state_dict().keys() == stirred().state_dict().keys()
