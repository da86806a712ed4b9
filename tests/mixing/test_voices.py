"""Rooms: what of a voice in one is the target, what is cut, and which band is left."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from hifitse.audio.cache import DecodedRecordings
from hifitse.audio.recording import Recording
from hifitse.config.schema import Config
from hifitse.corpus.corpus import Pool, Room, Speaker, load_corpus
from hifitse.mixing.curriculum import settings_at
from hifitse.mixing.rendering import Rendered, render, render_index
from hifitse.mixing.scenes import Scene, Voice
from hifitse.mixing.voices import in_rooms, read_voice

MakeConfig = Callable[..., Config]
RATE = 8000


def write(path: Path, samples: np.ndarray, rate: int = RATE) -> Recording:
    sf.write(path, samples, rate, subtype="FLOAT")
    return Recording(str(path), path.name, rate, len(samples))


@pytest.fixture
def scene(make_config: MakeConfig) -> Scene:
    config = make_config()
    corpus = load_corpus(config)
    drawn, _ = render_index(0, "t", 0, settings_at(config, 0), corpus.train, config.audio, config.mixing)
    return replace(drawn, interferers=(), noise=None)


def heard_in(config: Config, scene: Scene, speech: Recording, rir: Recording | None) -> Rendered:
    voice = Voice("s", speech, 0.25, 0.0, 1.0, rir)
    return render(replace(scene, target=voice), config.audio, config.mixing)


@pytest.mark.parametrize("kind", ["reverberant", "early", "dry"])
@pytest.mark.parametrize("delay", [0, 37, 1200])
def test_targets_are_aligned_to_the_direct_sound_at_their_level_in_the_mixture(
    make_config: MakeConfig, scene: Scene, tmp_path: Path, kind: str, delay: int
) -> None:
    config = make_config(mixing={"target": kind, "peak_limit": 1.0, "level_db": (-40, -40)})
    speech = write(tmp_path / "speech.wav", np.random.default_rng(0).uniform(-0.5, 0.5, 4 * RATE))
    taps = {0: -0.8, 200: 0.4, 399: 0.3, 402: 0.2, 2000: 0.3}  # at 50 ms is 400; measured with inverse polarity
    samples = np.zeros(delay + 2500)
    for place, value in taps.items():
        samples[delay + place] = value
    rendered = heard_in(config, scene, speech, write(tmp_path / "rir.wav", samples))
    kept = {"reverberant": [*taps], "early": [0, 200, 399], "dry": [0]}[kind]
    dry = read_voice(Voice("s", speech, 0.0, 0.0, 1.0, None), 3 * RATE, RATE, DecodedRecordings(0)).dry
    start = round(0.25 * RATE)
    parts = {place: taps[place] * dry[max(0, start - place) :][: 2 * RATE] for place in taps if place <= start}
    whole = np.sum([part for part in parts.values()], axis=0)
    gain = float(np.sum(rendered.mixture * whole) / np.sum(whole * whole))
    np.testing.assert_allclose(rendered.mixture, gain * whole, atol=1e-6)
    np.testing.assert_allclose(rendered.target, gain * np.sum([parts[place] for place in kept], axis=0), atol=2e-5)
    # What is heard does not depend on what is asked for.
    reverberant = make_config(mixing={"peak_limit": 1.0, "level_db": (-40, -40)})
    again = heard_in(reverberant, scene, speech, Recording(str(tmp_path / "rir.wav"), "r", RATE, len(samples)))
    np.testing.assert_array_equal(again.mixture, rendered.mixture)


def test_without_a_room_all_targets_are_the_voice(make_config: MakeConfig, scene: Scene, tmp_path: Path) -> None:
    speech = write(tmp_path / "speech.wav", np.random.default_rng(0).uniform(-0.5, 0.5, 4 * RATE))
    for kind in ("reverberant", "early", "dry"):
        rendered = heard_in(make_config(mixing={"target": kind}), scene, speech, None)
        np.testing.assert_array_equal(rendered.target, rendered.mixture)


def test_a_direct_sound_between_two_samples_keeps_its_level(
    make_config: MakeConfig, scene: Scene, tmp_path: Path
) -> None:
    config = make_config(mixing={"target": "dry", "peak_limit": 1.0, "level_db": (-40, -40)})
    times = np.arange(400) - 100.4
    speech = np.convolve(np.random.default_rng(0).uniform(-0.5, 0.5, 4 * RATE), np.hanning(9), "same")
    rir = write(tmp_path / "rir.wav", np.sinc(times) * np.hanning(400))
    rendered = heard_in(config, scene, write(tmp_path / "speech.wav", speech), rir)
    ratio = np.sqrt(np.square(rendered.target).mean() / np.square(rendered.mixture).mean())
    assert 20 * np.log10(ratio) == pytest.approx(0, abs=0.5)


def test_a_long_response_fades_out_where_it_is_cut(tmp_path: Path) -> None:
    click = np.zeros(4 * RATE)
    click[0] = 1.0
    speech = write(tmp_path / "click.wav", click)
    samples = np.full(5 * RATE, 0.01)
    samples[3 * RATE // 2] = 1.0
    for length, is_cut in ((len(samples), True), (3 * RATE, False)):
        rir = write(tmp_path / f"{length}.wav", samples[:length])
        crop = read_voice(Voice("s", speech, 0.0, 0.0, 1.0, rir), 4 * RATE, RATE, DecodedRecordings(0))
        (heard,) = in_rooms([crop])
        end = min(2 * RATE, len(samples[:length]) - 3 * RATE // 2 + 40) - 40
        assert np.abs(heard[end:]).max() < 1e-6
        tail = heard[end - 400 : end]
        assert (tail[-1] < 0.01 * tail[0]) == is_cut
        assert heard[end - 500] == pytest.approx(0.01 * heard[0], rel=1e-3)


def white_noise_corpus(folder: Path, rir_rate: int) -> Pool:
    """Return speakers of white noise at 48 kHz and a room whose response is at another rate."""
    rng = np.random.default_rng(0)
    speakers = []
    for speaker in ("a", "b"):
        (folder / "speech" / speaker).mkdir(parents=True)
        recordings = [
            write(folder / "speech" / speaker / f"{number}.wav", rng.uniform(-0.3, 0.3, 240000), 48000)
            for number in range(4)
        ]
        speakers.append(Speaker(speaker, tuple(recordings)))
    (folder / "rir").mkdir()
    response = rng.standard_normal(rir_rate // 2) * np.exp(-np.arange(rir_rate // 2) / (0.05 * rir_rate)) * 0.05
    response[100] = 1.0
    rir = write(folder / "rir" / "room.wav", response, rir_rate)
    return Pool(tuple(speakers), (), (Room("room", (rir,)),))


def band_levels_db(samples: np.ndarray) -> np.ndarray:
    """Return the power in bands of 1.2 kHz up to 0.9 of 24 kHz, over the mean of the lowest two."""
    power = np.square(np.abs(np.fft.rfft(samples * np.hanning(len(samples)))))
    hertz = np.fft.rfftfreq(len(samples), 1 / 48000)
    bands = np.array([power[(hertz >= low) & (hertz < low + 1200)].mean() for low in np.arange(0, 21600, 1200)])
    return np.asarray(10 * np.log10(bands / bands[:2].mean()))


def test_a_room_at_the_rate_of_the_model_keeps_the_band_and_one_below_is_told_of(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    levels, corpora = {}, {}
    for rir_rate in (48000, 16000):
        folder = tmp_path / str(rir_rate)
        pool = white_noise_corpus(folder, rir_rate)
        config = make_config(
            audio={"sample_rate": 48000},
            data={"speech": folder / "speech", "rir": folder / "rir", "noise": (), "split": "utterance"},
            mixing={"num_interferers": (1, 1), "speeds": (1.0,)},
        )
        corpora[rir_rate] = load_corpus(config)
        _, rendered = render_index(0, "t", 0, settings_at(config, 0), pool, config.audio, config.mixing)
        levels[rir_rate] = band_levels_db(rendered.target)
    assert np.abs(levels[48000]).max() < 3
    assert levels[16000][8:].max() < -70, "a fault that is heard in no metric"
    assert not corpora[48000].warnings
    (warning,) = corpora[16000].warnings
    assert warning.startswith("data.rir: 1 of 1 impulse responses") and "67% of its band" in warning


def test_voices_are_heard_together_as_they_are_one_by_one(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    crops = []
    for number, seconds in enumerate((0.1, 0.3, 0.5, None, 0.2)):
        speech = write(tmp_path / f"speech{number}.wav", rng.uniform(-0.5, 0.5, 3 * RATE))
        rir = seconds and write(tmp_path / f"rir{number}.wav", rng.uniform(-0.5, 0.5, round(seconds * RATE)))
        crops.append(read_voice(Voice("s", speech, 1.0, 0.0, 1.0, rir), RATE, RATE, DecodedRecordings(0)))
    for crop, heard in zip(crops, in_rooms(crops), strict=True):
        expected = crop.dry if crop.response is None else np.convolve(crop.samples, crop.response, "valid")
        np.testing.assert_allclose(heard, expected, atol=1e-5)
