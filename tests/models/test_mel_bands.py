"""Mel bands read what a Linear for each band would read, and fade into each other in the mask."""

import pytest
import torch

from hifitse.config.bands import mel_centers
from hifitse.models.mel_bands import MelDecoder, MelEncoder


def test_a_band_reads_its_own_bins_alone_and_a_bin_is_written_by_two_bands() -> None:
    centers = (0, 2, 5, 9)
    encoder, decoder = MelEncoder(centers, 3), MelDecoder(centers, 3)
    spectrum = torch.zeros(1, 10, 1, dtype=torch.complex64)
    silent = encoder(spectrum, torch.ones(1, 1, 1))
    reads = {}
    for bin_ in range(10):
        heard = spectrum.clone()
        heard[0, bin_] = 1 + 1j
        changed = (encoder(heard, torch.ones(1, 1, 1)) - silent).abs().amax(dim=(0, 1, 3)) > 1e-3
        reads[bin_] = changed.nonzero().flatten().tolist()
    assert reads == {
        0: [0, 1], 1: [0, 1], 2: [0, 1, 2], 3: [1, 2], 4: [1, 2],
        5: [1, 2, 3], 6: [2, 3], 7: [2, 3], 8: [2, 3], 9: [2, 3],
    }  # fmt: skip
    with torch.no_grad():
        decoder.bias.zero_()
        decoder.weight.fill_(1.0)
    features = torch.zeros(1, 1, 4, 3)
    features[:, :, 1] = 1
    mask = decoder(features)[0, :, 0].real
    expected = torch.tensor([0, 0.5, 1, 2 / 3, 1 / 3, 0, 0, 0, 0, 0])
    torch.testing.assert_close(mask / mask.max(), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("num_bins", "num_bands"), [(65, 2), (129, 24), (513, 6)])
def test_the_features_are_those_of_a_linear_for_each_band(num_bins: int, num_bands: int) -> None:
    centers = mel_centers(num_bins, num_bands, 16000)
    torch.manual_seed(0)
    encoder = MelEncoder(centers, 5)
    with torch.no_grad():
        encoder.bias.normal_()
    spectrum = torch.randn(2, num_bins, 3, dtype=torch.complex64)
    level = torch.tensor([0.5, 2.0])[:, None, None]
    first = 0
    for band, (below, above) in enumerate(zip((0, *centers), (*centers[1:], centers[-1]), strict=False)):
        bins = (spectrum / level).transpose(1, 2)[..., below : above + 1]
        weights = slice(first, first := first + bins.shape[-1])
        complex_weights = slice(2 * weights.start, 2 * weights.stop)
        strength = bins.abs().square().mean(dim=-1, keepdim=True).sqrt()
        phases = 0.25 * torch.view_as_real(bins / strength).flatten(-2) @ encoder.complex_weight[complex_weights]
        expected = phases + (bins.abs() ** 0.3 - 1) @ encoder.weight[weights] + encoder.bias[band]
        torch.testing.assert_close(encoder(spectrum, level)[:, :, band], expected, rtol=1e-4, atol=1e-5)
    assert first == len(encoder.weight)


def test_the_mask_starts_as_a_pass_through() -> None:
    decoder = MelDecoder(mel_centers(129, 24, 8000), 16)
    mask = decoder(torch.randn(1, 4, 24, 16, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(mask, torch.ones_like(mask), rtol=0, atol=0.02)
