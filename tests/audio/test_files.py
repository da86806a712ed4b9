from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st

from hifitse.audio.cache import DecodedRecordings
from hifitse.audio.files import first_sample, probe_audio, read_audio, resample, to_16_bit, write_audio
from hifitse.audio.recording import Recording
from hifitse.errors import DataError
from tests.helpers import DEMO_CORPUS

SPEECH = DEMO_CORPUS / "speech" / "carlo_it" / "000.flac"
TONE_HZ = 1000


def tone(path: Path, seconds: float = 1.0, rate: int = 16000, hertz: float = TONE_HZ, channels: int = 1) -> Path:
    samples = 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)
    sf.write(path, np.stack([samples] * channels, axis=1), rate, subtype="FLOAT" if path.suffix == ".wav" else None)
    return path


def loudest_hz(samples: np.ndarray, rate: int) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), 8 * rate))
    return float(np.argmax(spectrum)) / 8


@settings(max_examples=60, deadline=None)
@given(
    rate=st.sampled_from([8000, 16000, 44100, 44101, 48000]),
    speed=st.sampled_from([0.9, 1.0, 1.1]),
    start_seconds=st.floats(0, 1.5),
    num_samples=st.integers(1, 9000),
)
def test_a_part_equals_the_same_part_of_the_whole(
    rate: int, speed: float, start_seconds: float, num_samples: int
) -> None:
    whole = read_audio(SPEECH, rate, speed=speed)
    begin = first_sample(probe_audio(SPEECH).sample_rate, rate, start_seconds, speed)
    assert abs(begin - start_seconds / speed * rate) <= 0.5 + 1e-6
    part = read_audio(SPEECH, rate, start_seconds, num_samples, speed)
    np.testing.assert_array_equal(part, whole[begin : begin + num_samples])


def test_at_its_own_rate_a_file_is_returned_as_it_is() -> None:
    samples, rate = sf.read(SPEECH, dtype="float32")
    np.testing.assert_array_equal(read_audio(SPEECH, rate), samples)
    info = probe_audio(SPEECH)
    assert (info.sample_rate, info.num_frames) == (rate, len(samples))


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000])
@pytest.mark.parametrize("speed", [0.9, 1.0, 1.1])
def test_resampling_keeps_level_and_speed_moves_the_pitch(tmp_path: Path, rate: int, speed: float) -> None:
    samples = read_audio(tone(tmp_path / "tone.wav"), rate, speed=speed)
    assert len(samples) == pytest.approx(rate / speed, abs=1)
    middle = samples[rate // 10 : -rate // 10]
    assert loudest_hz(middle, rate) == pytest.approx(TONE_HZ * speed, abs=1)
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(0.5 / np.sqrt(2), rel=2e-3)


@pytest.mark.parametrize("rate", [1, 999, 768_001, 10**9 + 7])
def test_absurd_rates_are_refused_by_name(tmp_path: Path, rate: int) -> None:
    sf.write(tmp_path / "odd.wav", np.ones(4000), rate)
    for read in (probe_audio, lambda path: read_audio(path, 8000)):
        with pytest.raises(DataError, match=rf"odd\.wav: a sample rate of {rate} Hz, which is not between 1000 and"):
            read(tmp_path / "odd.wav")
    with pytest.raises(DataError, match=f"rate of {rate} Hz"):
        resample(np.ones(4000, np.float32), rate, 8000)


@pytest.mark.parametrize(("channel", "expected"), [(0, [0.5, 0.25]), (1, [0.0, 0.75]), (7, [0.0, 0.75])])
@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_one_channel_is_read_and_never_their_average(
    tmp_path: Path, subtype: str, channel: int, expected: list[float]
) -> None:
    sf.write(tmp_path / "stereo.wav", np.array([[0.5, 0.0], [0.25, 0.75]]), 8000, subtype=subtype)
    np.testing.assert_array_equal(read_audio(tmp_path / "stereo.wav", 8000, channel=channel), np.float32(expected))
    recording = Recording(str(tmp_path / "stereo.wav"), "stereo.wav", 8000, 2, channel=channel)
    for files in (DecodedRecordings(0), DecodedRecordings(1)):
        np.testing.assert_array_equal(files.read(recording, 8000), np.float32(expected))


def test_microphones_that_stand_apart_leave_no_notches(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).standard_normal(48000) / 10
    late = np.concatenate([np.zeros(8), noise[:-8]])  # their average has no 1 kHz: half a period later
    sf.write(tmp_path / "array.wav", np.stack([noise, late], axis=1), 16000, subtype="FLOAT")
    spectrum = np.abs(np.fft.rfft(read_audio(tmp_path / "array.wav", 16000))) ** 2
    hertz = np.fft.rfftfreq(48000, 1 / 16000)
    notch, around = spectrum[(hertz > 990) & (hertz < 1010)].mean(), spectrum[(hertz > 500) & (hertz < 1500)].mean()
    assert abs(10 * np.log10(notch / around)) < 3


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3"])
def test_every_format_is_read_by_parts(tmp_path: Path, suffix: str) -> None:
    path = tone(tmp_path / f"tone{suffix}", seconds=2)
    part = read_audio(path, 8000, start_seconds=1.0, num_samples=4000)
    assert part.dtype == np.float32 and part.shape == (4000,)
    assert loudest_hz(part, 8000) == pytest.approx(TONE_HZ, abs=1)


def test_reading_beyond_the_end_gives_what_is_there(tmp_path: Path) -> None:
    path = tone(tmp_path / "tone.wav")
    assert read_audio(path, 16000, 0.9, 16000).shape == (1600,)
    assert read_audio(path, 16000, 5.0, 16000).shape == (0,)


def test_levels_above_full_scale_survive_writing(tmp_path: Path) -> None:
    samples = np.float32([0.0, 1.7, -2.5])
    write_audio(tmp_path / "loud.wav", samples, 8000)
    np.testing.assert_array_equal(read_audio(tmp_path / "loud.wav", 8000), samples)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_wav_files_read_the_bits_that_libsndfile_gives(tmp_path: Path, subtype: str) -> None:
    samples = np.random.default_rng(0).uniform(-1, 1, (3000, 2))
    sf.write(tmp_path / "a.wav", samples, 8000, subtype=subtype)
    expected = sf.read(tmp_path / "a.wav", dtype="float32")[0][:, 0]
    np.testing.assert_array_equal(read_audio(tmp_path / "a.wav", 8000), expected)


def test_what_came_from_16_bits_is_written_back_to_the_bit(tmp_path: Path) -> None:
    integers = np.arange(-32768, 32768, dtype=np.int16)
    sf.write(tmp_path / "a.wav", integers, 8000)
    np.testing.assert_array_equal(to_16_bit(read_audio(tmp_path / "a.wav", 8000)), integers)


def test_writing_into_no_folder_names_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere/a\.wav: cannot write"):
        write_audio(tmp_path / "nowhere" / "a.wav", np.zeros(3), 8000)


def test_broken_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("not audio")
    sf.write(tmp_path / "empty.wav", np.zeros(0), 8000)
    sf.write(tmp_path / "nan.wav", np.array([0.1, np.nan, 0.2]), 8000, subtype="FLOAT")
    for name, reason in [
        ("text.wav", "not readable as audio"),
        ("empty.wav", "holds no samples"),
        ("nan.wav", "not finite"),
        ("absent.wav", "no such audio file"),
    ]:
        with pytest.raises(DataError, match=reason) as caught:
            read_audio(tmp_path / name, 8000)
        assert str(caught.value).startswith(str(tmp_path / name))
        assert "\n" not in str(caught.value)


def test_a_file_that_was_cut_short_is_named(tmp_path: Path) -> None:
    whole = SPEECH.read_bytes()
    cut = tmp_path / "cut.flac"
    cut.write_bytes(whole[: len(whole) // 4])
    with pytest.raises(DataError, match=r"cut\.flac: .*(damaged|ends)"):
        read_audio(cut, 16000, start_seconds=1.5)


def test_recordings_kept_in_memory_read_the_same_bits_and_stay_within_their_size(demo_corpus: Path) -> None:
    paths = sorted((demo_corpus / "speech").rglob("*.flac"))[:12]
    recordings = [Recording(str(p), p.name, (i := probe_audio(p)).sample_rate, i.num_frames) for p in paths]
    files = DecodedRecordings(megabytes=1)
    for recording in recordings * 2:
        for rate, start, number, speed in ((8000, 0.313, 4000, 0.9), (48000, 0.5, 20000, 1.0), (8000, 0.0, None, 1.1)):
            kept = files.read(recording, rate, start, number, speed)
            assert np.array_equal(kept, read_audio(recording.path, rate, start, number, speed))
    assert 0 < sum(kept.nbytes for kept in files._kept.values()) <= 2**20
