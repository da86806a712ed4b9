"""Band layouts cover every bin, in order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hifitse.config.bands import Bands, band_problem, generated_bands, hifi_tse_48k, mel_centers
from hifitse.errors import HifitseError


def test_the_original_layout() -> None:
    bands = hifi_tse_48k()
    widths = [last - first + 1 for first, last in bands]
    assert widths == [5, *[6] * 8, 8, 20, *[19] * 16, 28, 31, *[30] * 23, 36]
    assert bands[9:12] == ((35, 42), (41, 60), (58, 76))
    assert bands[27:30] == ((314, 341), (340, 370), (368, 397))
    assert band_problem(bands, 1025) is None


@given(st.data(), st.integers(9, 3000))
def test_generated_layouts_are_sound(data: st.DataObject, num_bins: int) -> None:
    num_bands = data.draw(st.integers(1, min(num_bins // 3, 100)))
    bands = generated_bands(num_bins, num_bands)
    assert len(bands) == num_bands
    assert band_problem(bands, num_bins) is None
    assert all(last - first + 1 >= 3 for first, last in bands)
    assert all(next_first < last + 1 for (_, last), (next_first, _) in zip(bands, bands[1:], strict=False))


@given(st.integers(100, 3000), st.integers(2, 30))
def test_generated_bands_grow_upwards(num_bins: int, num_bands: int) -> None:
    bands = generated_bands(num_bins, num_bands)
    # The lowest band has no lower neighbour to overlap with; rounding may cost a bin.
    widths = [last - first + 1 for first, last in bands[1:]]
    assert all(upper >= lower - 1 for lower, upper in zip(widths, widths[1:], strict=False))


def test_generated_refuses_what_does_not_fit() -> None:
    with pytest.raises(HifitseError, match="10 bands do not fit into 29 bins; use at most 9"):
        generated_bands(29, 10)


@pytest.mark.parametrize(
    ("bands", "expected"),
    [
        ((), "no bands"),
        (((0, 8),), "the STFT has bins 0-9"),
        (((1, 9),), "bands span bins 1-9"),
        (((0, 3), (5, 9)), "bins 4-4 are in no band"),
        (((0, 5), (0, 9)), "does not come after"),
        (((0, 9), (2, 9)), "does not come after"),
        (((0, -1), (-1, 9)), "does not come after"),
        (((0, 4), (5, 9)), None),
        (((0, 6), (3, 9)), None),
    ],
)
def test_problems(bands: Bands, expected: str | None) -> None:
    found = band_problem(bands, 10)
    assert (found is None) if expected is None else (found is not None and expected in found)


@pytest.mark.parametrize(("num_bins", "num_bands", "rate"), [(1025, 32, 48000), (257, 24, 16000), (129, 64, 8000)])
def test_mel_centers_ascend_from_end_to_end_and_widen(num_bins: int, num_bands: int, rate: int) -> None:
    centers = mel_centers(num_bins, num_bands, rate)
    gaps = [high - low for low, high in zip(centers, centers[1:], strict=False)]
    assert (len(centers), centers[0], centers[-1]) == (num_bands, 0, num_bins - 1)
    assert min(gaps) >= 2 and gaps[0] <= gaps[-1]
