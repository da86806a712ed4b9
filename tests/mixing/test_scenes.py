import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st

from hifitse.audio.files import read_audio
from hifitse.audio.recording import Recording
from hifitse.config.schema import Config
from hifitse.corpus.corpus import Corpus, Pool, Speaker, load_corpus
from hifitse.errors import DataError
from hifitse.mixing.curriculum import SceneSettings, settings_at
from hifitse.mixing.rendering import InaudibleError, Rendered, render, render_index
from hifitse.mixing.scenes import Scene, Voice, draw_scene

MakeConfig = Callable[..., Config]
QUIET = {"level_db": (-45, -35), "peak_limit": 1.0}


def level_db(samples: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(samples.astype(np.float64) ** 2)))


def render_at(config: Config, corpus: Corpus, index: int, step: int = 2) -> tuple[Scene, Rendered]:
    scene_settings = settings_at(config, step)
    return render_index(0, "train", index, scene_settings, corpus.train, config.audio, config.mixing)


def same(a: Rendered, b: Rendered) -> bool:
    pairs = ((a.mixture, b.mixture), (a.reference, b.reference), (a.target, b.target))
    return all(np.array_equal(x, y) for x, y in pairs)


RECORDINGS = tuple(Recording(f"/{n}.wav", f"{n}.wav", 16000, 16000 * (1 + n % 6)) for n in range(24))
POOL = Pool(
    tuple(Speaker(f"s{n}", RECORDINGS[4 * n : 4 * n + 2 + n % 3]) for n in range(6)), RECORDINGS[:5], RECORDINGS[:3]
)


@st.composite
def mixing(draw: st.DrawFn) -> SceneSettings:
    share = st.sampled_from([0.0, 0.3, 1.0])
    return SceneSettings(
        absent_ratio=draw(st.floats(0, 0.9)),
        num_interferers=draw(st.sampled_from([(1, 1), (1, 3), (5, 5)])),
        level_db=(-28, -20),
        sir_db=(-5, 5),
        snr_db=(-5, 15),
        noise_probability=draw(share),
        generated_noise=draw(st.booleans()),
        rir_probability=draw(share),
        speeds=draw(st.sampled_from([(1.0,), (0.9, 1.0, 1.1)])),
        reference_noise_probability=draw(share),
        reference_snr_db=(5, 20),
        reference_dropout=draw(share),
    )


@settings(max_examples=150, deadline=None)
@given(scene_settings=mixing(), seed=st.integers(0, 9), index=st.integers(0, 10**9), attempt=st.integers(0, 3))
def test_what_every_scene_holds(scene_settings: SceneSettings, seed: int, index: int, attempt: int) -> None:
    segments = Config.model_fields["audio"].default
    scene = draw_scene(seed, "train", index, scene_settings, POOL, segments, attempt)
    assert scene == draw_scene(seed, "train", index, scene_settings, POOL, segments, attempt)
    assert scene.present == draw_scene(seed, "train", index, scene_settings, POOL, segments, attempt + 1).present
    others = [interferer.voice.speaker for interferer in scene.interferers]
    assert scene.speaker not in others and len(set(others)) == len(others)
    assert scene_settings.num_interferers[0] <= len(others) <= scene_settings.num_interferers[1]
    assert (scene.target is not None) == scene.present
    reference = scene.reference.voice
    assert reference.speaker == scene.speaker
    if scene.target is not None:
        assert scene.target.speaker == scene.speaker
        assert scene.target.recording != reference.recording
        assert scene.target.speed == reference.speed
    for voice in [reference, *(interferer.voice for interferer in scene.interferers)]:
        assert 0 <= voice.start_seconds <= voice.recording.seconds
        assert voice.start_seconds == 0 or voice.offset_seconds == 0
        owner = next(speaker for speaker in POOL.speakers if speaker.name == voice.speaker)
        assert voice.recording in owner.recordings
    assert json.loads(json.dumps(asdict(scene)))["index"] == index


def test_draws_follow_their_ranges_and_shares(make_config: MakeConfig) -> None:
    config = make_config(mixing={"rir_probability": 0.25, "noise_probability": 0.5, "num_interferers": (1, 3)})
    scenes = [draw_scene(1, "train", n, settings_at(config, 10), POOL, config.audio) for n in range(2000)]
    voices = [interferer.voice for scene in scenes for interferer in scene.interferers]
    assert np.mean([voice.rir is not None for voice in voices]) == pytest.approx(0.25, abs=0.03)
    assert np.mean([scene.noise is not None for scene in scenes]) == pytest.approx(0.5, abs=0.04)
    assert np.mean([scene.reference.kept for scene in scenes]) == pytest.approx(0.9, abs=0.03)
    assert np.mean([scene.present for scene in scenes]) == pytest.approx(0.7, abs=1e-9)
    for count in (1, 2, 3):
        assert np.mean([len(scene.interferers) == count for scene in scenes]) == pytest.approx(1 / 3, abs=0.04)
    counts = [sum(scene.speaker == speaker.name for scene in scenes) for speaker in POOL.speakers]
    assert min(counts) > 2000 / 6 * 0.8
    sirs = [interferer.sir_db for scene in scenes for interferer in scene.interferers]
    assert -5 <= min(sirs) < -4.9 and 4.9 < max(sirs) <= 5


def test_measured_levels_are_the_drawn_ones(make_config: MakeConfig) -> None:
    # uh_chapel is all but digital silence, and left out of any mixture as such.
    config = make_config(mixing=QUIET, data={"exclude": ("uh_chapel.*",)})
    corpus = load_corpus(config)
    for index in range(12):
        scene, rendered = render_at(config, corpus, index)
        parts = {
            interferer: render(replace(scene, interferers=(interferer,), noise=None), config.audio, config.mixing)
            for interferer in scene.interferers
        }
        speech = rendered.target.astype(np.float64)
        if scene.present:
            assert level_db(rendered.target) == pytest.approx(scene.level_db, abs=1e-3)
        else:
            assert not rendered.target.any()
        for interferer, part in parts.items():
            alone = part.mixture - part.target
            assert scene.level_db - level_db(alone) == pytest.approx(interferer.sir_db, abs=0.01)
            speech = speech + alone
        assert scene.noise is not None
        noise = rendered.mixture - speech
        assert level_db(speech) - level_db(noise) == pytest.approx(scene.noise.snr_db, abs=0.05)
        if scene.reference.kept:
            clean = replace(scene, reference=replace(scene.reference, noise=None))
            reference = render(clean, config.audio, config.mixing).reference
            assert level_db(reference) == pytest.approx(scene.reference.level_db, abs=1e-3)
            if scene.reference.noise is not None:
                snr_db = level_db(reference) - level_db(rendered.reference - reference)
                assert snr_db == pytest.approx(scene.reference.noise.snr_db, abs=0.05)
        else:
            assert not rendered.reference.any()


def test_without_others_and_noise_the_mixture_is_the_target(make_config: MakeConfig) -> None:
    config = make_config(mixing={"level_db": (-8, -8)})
    corpus = load_corpus(config)
    scene, _ = render_at(config, corpus, 0)
    alone = render(replace(scene, interferers=(), noise=None), config.audio, config.mixing)
    np.testing.assert_array_equal(alone.mixture, alone.target)
    assert np.abs(alone.mixture).max() == pytest.approx(config.mixing.peak_limit, rel=1e-6)


def test_shapes_are_exact_and_peaks_limited(make_config: MakeConfig) -> None:
    config = make_config(mixing={"level_db": (-15, -10)}, audio={"sample_rate": 11025, "mixture_seconds": 1.37})
    corpus = load_corpus(config)
    for index in range(8):
        scene, rendered = render_at(config, corpus, index)
        assert rendered.mixture.shape == rendered.target.shape == (config.audio.mixture_samples,)
        assert rendered.reference.shape == (config.audio.reference_samples,)
        assert {x.dtype for x in (rendered.mixture, rendered.reference, rendered.target)} == {np.dtype(np.float32)}
        assert np.abs(rendered.mixture).max() <= config.mixing.peak_limit * (1 + 1e-6)
        assert same(render(scene, config.audio, config.mixing), rendered)


def test_an_impulse_in_a_room_stays_where_it_is(make_config: MakeConfig, tmp_path: Path, demo_corpus: Path) -> None:
    config = make_config(mixing={"min_target_seconds": 0, "silence_db": -90})
    click = np.zeros(32000)
    click[12000] = 0.9
    sf.write(tmp_path / "click.wav", click, 8000, subtype="FLOAT")
    recording = Recording(str(tmp_path / "click.wav"), "click.wav", 8000, 32000)
    room = Recording(str(demo_corpus / "rir" / "living_room.flac"), "r", 16000, 14306)
    scene, _ = render_at(config, load_corpus(config), 0)
    # The second crop starts after the click: the tail of what was before it is still heard.
    for start_seconds in (1.0, 1.6):
        voice = Voice("s", recording, start_seconds, 0.0, 1.0, room)
        heard = render(replace(scene, target=voice, interferers=(), noise=None), config.audio, config.mixing).target
        response = read_audio(room.path, 8000)
        response = response[int(np.abs(response).argmax()) :]
        begin = round(start_seconds * 8000) - 12000
        if begin < 0:
            assert np.abs(heard).argmax() == -begin
        expected = response[max(0, begin) :][:3000]
        tail = heard[max(0, -begin) :][: len(expected)]
        assert np.corrcoef(expected, tail)[0, 1] > 0.999


def test_a_short_recording_is_placed_whole(make_config: MakeConfig, tmp_path: Path) -> None:
    config = make_config()
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 6000)
    sf.write(tmp_path / "short.wav", samples, 8000, subtype="FLOAT")
    recording = Recording(str(tmp_path / "short.wav"), "short.wav", 8000, 6000)
    scene, _ = render_at(config, load_corpus(config), 0)
    voice = Voice("s", recording, 0.0, 0.5, 1.0, None)
    target = render(replace(scene, target=voice, interferers=(), noise=None), config.audio, config.mixing).target
    assert not target[:4000].any() and not target[10000:].any()
    assert np.corrcoef(target[4000:10000], samples)[0, 1] > 0.999999


@pytest.mark.parametrize("speed", [0.9, 1.0, 1.1])
def test_target_and_reference_share_their_pitch(make_config: MakeConfig, tmp_path: Path, speed: float) -> None:
    sf.write(tmp_path / "tone.wav", 0.3 * np.sin(2 * np.pi * 400 * np.arange(64000) / 16000), 16000)
    tones = [Recording(str(tmp_path / "tone.wav"), f"{n}", 16000, 64000) for n in range(3)]
    pool = Pool((Speaker("a", tuple(tones)), Speaker("b", tuple(tones))), (), ())
    config = make_config(mixing={"num_interferers": (1, 1), "speeds": (speed,), "reference_dropout": 0})
    _, rendered = render_index(0, "t", 0, settings_at(config, 0), pool, config.audio, config.mixing)
    for samples in (rendered.target, rendered.reference):
        spectrum = np.abs(np.fft.rfft(samples[4000:12000] * np.hanning(8000), 64000))
        assert np.argmax(spectrum) / 8 == pytest.approx(400 * speed, abs=1)


def test_noise_is_looped_where_it_is_short_and_generated_where_there_is_none(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    clip = np.random.default_rng(0).uniform(-0.5, 0.5, 3000)
    sf.write(tmp_path / "clip.wav", clip, 8000, subtype="FLOAT")
    config = make_config(mixing=QUIET)
    corpus = load_corpus(config)
    short = replace(corpus.train, noises=(Recording(str(tmp_path / "clip.wav"), "clip", 8000, 3000),))
    none = replace(corpus.train, noises=())
    generating = replace(settings_at(config, 0), generated_noise=True)
    for pool in (short, none):
        scene, rendered = render_index(0, "t", 3, generating, pool, config.audio, config.mixing)
        assert scene.noise is not None and (scene.noise.recording is None) == (pool is none)
        noise = rendered.mixture - render(replace(scene, noise=None), config.audio, config.mixing).mixture
        assert np.isfinite(noise).all()
        if pool is short:
            np.testing.assert_allclose(noise[:10000], noise[3000:13000], atol=1e-6)
        else:
            spectrum = np.abs(np.fft.rfft(noise.astype(np.float64))) ** 2
            hertz = np.fft.rfftfreq(len(noise), 1 / 8000)
            octaves = [spectrum[(hertz >= low) & (hertz < 2 * low)].mean() for low in (125, 250, 500, 1000, 2000)]
            slope = -np.polyfit(np.arange(5), np.log2(octaves), 1)[0]
            assert slope == pytest.approx(scene.noise.exponent, abs=0.2)
    scene = draw_scene(0, "t", 3, replace(generating, generated_noise=False), none, config.audio)
    assert scene.noise is None


def test_silence_is_never_amplified(make_config: MakeConfig, tmp_path: Path) -> None:
    sf.write(tmp_path / "silence.flac", np.zeros(64000), 8000)
    silence = Recording(str(tmp_path / "silence.flac"), "silence", 8000, 64000)
    config = make_config(mixing=QUIET)
    corpus = load_corpus(config)
    scene, rendered = render_at(config, corpus, 0)
    assert scene.noise is not None
    mute = tuple(
        replace(interferer, voice=replace(interferer.voice, recording=silence, rir=None))
        for interferer in scene.interferers
    )
    muted = replace(scene, interferers=mute, noise=replace(scene.noise, recording=silence))
    quiet = render(muted, config.audio, config.mixing)
    np.testing.assert_array_equal(quiet.mixture, rendered.target)
    with pytest.raises(InaudibleError, match="nothing is audible"):
        render(replace(muted, target=None), config.audio, config.mixing)


def test_a_target_is_audible_or_drawn_again(make_config: MakeConfig, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    recordings = []
    for number in range(4):
        samples = np.zeros(160000)
        samples[60000:120000] = rng.uniform(-0.3, 0.3, 60000)  # 20 s, most of it silence
        sf.write(tmp_path / f"{number}.flac", samples, 8000)
        recordings.append(Recording(str(tmp_path / f"{number}.flac"), f"{number}", 8000, 160000))
    pool = Pool((Speaker("a", tuple(recordings)), Speaker("b", tuple(recordings))), (), ())
    config = make_config(mixing={"num_interferers": (1, 1), "reference_dropout": 0})
    attempts = []
    for index in range(20):
        scene, rendered = render_index(0, "t", index, settings_at(config, 0), pool, config.audio, config.mixing)
        attempts.append(scene.attempt)
        for samples in (rendered.target, rendered.reference):
            assert np.count_nonzero(samples) >= 0.45 * 8000
        again, same_audio = render_index(0, "t", index, settings_at(config, 0), pool, config.audio, config.mixing)
        assert again == scene and same(same_audio, rendered)
    assert max(attempts) > 0


def test_speakers_who_are_never_audible_are_named(make_config: MakeConfig, tmp_path: Path) -> None:
    sf.write(tmp_path / "silence.flac", np.zeros(16000), 8000)
    recordings = tuple(Recording(str(tmp_path / "silence.flac"), f"{n}", 8000, 16000) for n in range(2))
    pool = Pool((Speaker("a", recordings), Speaker("b", recordings)), (), ())
    config = make_config(mixing={"num_interferers": (1, 1)})
    with pytest.raises(DataError, match=r"silence\.flac: speaker [ab] is above -60 dB for 0\.00 s.* lower mixing"):
        render_index(0, "t", 0, settings_at(config, 0), pool, config.audio, config.mixing)


def test_a_silent_impulse_response_is_named(make_config: MakeConfig, tmp_path: Path) -> None:
    sf.write(tmp_path / "rir.wav", np.zeros(800), 8000)
    config = make_config(mixing={"rir_probability": 1})
    corpus = load_corpus(config)
    pool = replace(corpus.train, rirs=(Recording(str(tmp_path / "rir.wav"), "rir", 8000, 800),))
    with pytest.raises(DataError, match=r"rir\.wav: this impulse response is digital silence"):
        render_index(0, "t", 0, settings_at(config, 0), pool, config.audio, config.mixing)
