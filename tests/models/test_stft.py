"""The transform is torch's where that is safe, and never spikes at the end."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hifitse.config.model import StftConfig
from hifitse.models.stft import Stft

FULL = StftConfig(n_fft=2048, window=960, hop=480)
SMALL = StftConfig(n_fft=256, window=256, hop=64)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("config", "length"), [(FULL, 192_000), (FULL, 48_000), (SMALL, 1024), (FULL, 48_240)])
def test_agrees_with_torch(config: StftConfig, length: int) -> None:
    stft, waveform = Stft(config), noise(2, length)
    window = torch.hann_window(config.window)
    plain = torch.stft(waveform, config.n_fft, config.hop, config.window, window, return_complex=True)
    spectrum = stft(waveform)
    assert spectrum.shape == (2, config.num_bins, 1 + length // config.hop)
    torch.testing.assert_close(spectrum, plain, rtol=0, atol=0)
    changed = spectrum * (1 + noise(*spectrum.shape, seed=1))
    expected = torch.istft(changed, config.n_fft, config.hop, config.window, window, length=length)
    torch.testing.assert_close(stft.inverse(changed, length), expected, rtol=0, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(
    length=st.integers(1, 3000),
    config=st.sampled_from(
        [SMALL, StftConfig(n_fft=512, window=240, hop=120), StftConfig(n_fft=128, window=96, hop=32)]
    ),
)
def test_inverse_restores_any_length(length: int, config: StftConfig) -> None:
    stft, waveform = Stft(config), noise(2, length)
    restored = stft.inverse(stft(waveform), length)
    assert restored.shape == waveform.shape
    torch.testing.assert_close(restored, waveform, rtol=0, atol=1e-5)


@pytest.mark.parametrize("extra", [479, 478, 470, 400, 300, 241, 240, 1, 0])
def test_a_changed_spectrum_has_no_spike_at_the_end(extra: int) -> None:
    length = 48_000 + extra
    stft = Stft(FULL)
    spectrum = stft(noise(4, length))
    mask = 1 + 0.3 * torch.randn(spectrum.shape, generator=torch.Generator().manual_seed(1), dtype=torch.complex64)
    estimate = stft.inverse(spectrum * mask, length)
    assert estimate[:, -480:].abs().max() < 2 * estimate[:, 480:-480].abs().max()


def test_the_plain_transform_does_spike() -> None:
    """Why the padding is there."""
    length, window = 48_479, torch.hann_window(960)
    spectrum = torch.stft(noise(4, length), 2048, 480, 960, window, return_complex=True)
    mask = 1 + 0.3 * torch.randn(spectrum.shape, generator=torch.Generator().manual_seed(1), dtype=torch.complex64)
    estimate = torch.istft(spectrum * mask, 2048, 480, 960, window, length=length)
    assert estimate[:, -480:].abs().max() > 100 * estimate[:, 480:-480].abs().max()


def test_stays_float32_under_autocast_and_has_no_state() -> None:
    stft = Stft(SMALL)
    with torch.autocast("cpu", torch.bfloat16):
        spectrum = stft(noise(1, 1000).bfloat16())
        assert spectrum.dtype == torch.complex64
        assert stft.inverse(spectrum, 1000).dtype == torch.float32
    assert not stft.state_dict()
