"""What is really in the recordings: a header of 48 kHz may hold no more than a telephone."""

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from hifitse.audio.files import resample
from hifitse.audio.recording import Recording
from hifitse.corpus.bandwidth import band_stats, empty_band


def recordings(folder: Path, number: int, bandwidth: int, seconds: float = 2.0) -> list[Recording]:
    """Write white noise at 48 kHz in 16 bits, of which nothing is left above the bandwidth."""
    made = []
    for name in range(number):
        noise = np.random.default_rng(name).uniform(-0.3, 0.3, round(seconds * 2 * bandwidth)).astype(np.float32)
        samples = resample(noise, 2 * bandwidth, 48000)
        path = folder / f"{bandwidth}_{name}.wav"
        sf.write(path, samples, 48000, subtype="PCM_16")
        made.append(Recording(str(path), path.name, 48000, len(samples)))
    return made


def test_white_noise_fills_the_band(tmp_path: Path) -> None:
    stats = band_stats(recordings(tmp_path, 3, 24000), 48000)
    assert list(stats.share_above_db) == [8000, 12000, 16000] and stats.recordings == 3
    for edge, share_db in stats.share_above_db.items():
        assert share_db == pytest.approx(10 * np.log10(1 - edge / 24000), abs=0.3)
    assert empty_band(stats) is None


def test_what_was_once_of_a_low_rate_is_seen(tmp_path: Path) -> None:
    low = recordings(tmp_path, 3, 8000)
    stats = band_stats(low, 48000)
    assert empty_band(stats) == 8000 and stats.empty_above == {8000: 3, 12000: 3, 16000: 3}
    stats = band_stats(low + recordings(tmp_path, 4, 24000), 48000)
    assert stats.empty_above[8000] == 3 and empty_band(stats) is None, "most of them fill the band"
    assert empty_band(band_stats(low, 16000)) is None


def test_a_response_that_begins_with_its_direct_sound_is_seen_whole(tmp_path: Path) -> None:
    samples = np.zeros(4800, np.float32)
    samples[0] = 1
    sf.write(tmp_path / "rir.wav", samples, 48000, subtype="FLOAT")
    rir = Recording(str(tmp_path / "rir.wav"), "rir", 48000, 4800)
    stats = band_stats([rir], 48000, responses=True)
    assert stats.share_above_db[12000] == pytest.approx(-3, abs=0.1)


def test_a_few_of_many_are_measured(tmp_path: Path) -> None:
    many = recordings(tmp_path, 1, 24000) * 1
    named = [Recording(many[0].path, f"{number}", 48000, many[0].num_frames) for number in range(100)]
    assert band_stats(named, 48000).recordings == 20
