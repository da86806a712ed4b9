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
from hifitse.audio.levels import active_level
from hifitse.audio.recording import Recording
from hifitse.config.schema import Config
from hifitse.corpus.corpus import Corpus, Pool, Room, Speaker, load_corpus
from hifitse.errors import DataError
from hifitse.mixing.curriculum import SceneSettings, settings_at
from hifitse.mixing.rendering import Rendered, render, render_index
from hifitse.mixing.scenes import Scene, Voice, draw_scene
from hifitse.mixing.voices import InaudibleError

MakeConfig = Callable[..., Config]
QUIET = {"level_db": (-45, -35), "peak_limit": 1.0}


def level_db(samples: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(samples.astype(np.float64) ** 2)))


def speech_db(samples: np.ndarray, rate: int = 8000) -> float:
    return float(20 * np.log10(active_level(samples, rate)))


def render_at(config: Config, corpus: Corpus, index: int, step: int = 2) -> tuple[Scene, Rendered]:
    scene_settings = settings_at(config, step)
    return render_index(0, "train", index, scene_settings, corpus.train, config.audio, config.mixing)


def same(a: Rendered, b: Rendered) -> bool:
    pairs = ((a.mixture, b.mixture), (a.reference, b.reference), (a.target, b.target))
    return all(np.array_equal(x, y) for x, y in pairs)


RECORDINGS = tuple(Recording(f"/{n}.wav", f"{n}.wav", 16000, 16000 * (1 + n % 6)) for n in range(24))
ROOMS = (
    Room("one", RECORDINGS[:1]),
    Room("few", RECORDINGS[1:4]),
    Room("many", RECORDINGS[4:24]),
)
POOL = Pool(tuple(Speaker(f"s{n}", RECORDINGS[4 * n : 4 * n + 2 + n % 3]) for n in range(6)), RECORDINGS[:5], ROOMS)


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
@given(
    scene_settings=mixing(),
    seed=st.integers(0, 9),
    index=st.integers(0, 10**9),
    attempt=st.lists(st.integers(0, 3), max_size=4),
)
def test_what_every_scene_holds(scene_settings: SceneSettings, seed: int, index: int, attempt: list[int]) -> None:
    segments = Config.model_fields["audio"].default
    scene = draw_scene(seed, "train", index, scene_settings, POOL, segments, attempt)
    assert scene == draw_scene(seed, "train", index, scene_settings, POOL, segments, attempt)
    again = draw_scene(seed, "train", index, scene_settings, POOL, segments, [number + 1 for number in attempt])
    assert scene.present == again.present and scene.attempt[: len(attempt)] == tuple(attempt)[: len(scene.attempt)]
    assert (scene.level_db, scene.room, scene.noise) == (again.level_db, again.room, again.noise)
    others = [interferer.voice.speaker for interferer in scene.interferers]
    assert scene.speaker not in others and len(set(others)) == len(others)
    assert scene_settings.num_interferers[0] <= len(others) <= scene_settings.num_interferers[1]
    assert (scene.target is not None) == scene.present
    reference = scene.reference.voice
    assert reference.speaker == scene.speaker
    assert scene.present or scene.reference.kept, "no reference must not come to mean silence"
    heard = [*([scene.target] if scene.target else []), *(interferer.voice for interferer in scene.interferers)]
    rirs = [voice.rir for voice in heard]
    if scene.room is None:
        assert set(rirs) == {None}
    else:
        positions = next(room.positions for room in ROOMS if room.name == scene.room)
        assert set(rirs) <= set(positions) and len(set(rirs)) >= min(len(rirs), len(positions))
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
    for room in ROOMS:
        assert np.mean([scene.room == room.name for scene in scenes]) == pytest.approx(0.25 / 3, abs=0.02)
    assert np.mean([scene.noise is not None for scene in scenes]) == pytest.approx(0.5, abs=0.04)
    kept = [scene.reference.kept for scene in scenes if scene.present]
    assert np.mean(kept) == pytest.approx(0.9, abs=0.03)
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
        assert rendered.gain == 1
        assert rendered.noise is not None and scene.noise is not None
        others = rendered.voices[1:] if scene.present else rendered.voices
        if scene.present:
            np.testing.assert_array_equal(rendered.target, rendered.voices[0])
            assert speech_db(rendered.target) == pytest.approx(scene.level_db, abs=1e-3)
        else:
            assert not rendered.target.any()
        for interferer, voice in zip(scene.interferers, others, strict=True):
            assert scene.level_db - speech_db(voice) == pytest.approx(interferer.sir_db, abs=1e-3)
        speech = np.sum(rendered.voices, axis=0)
        assert speech_db(speech) - level_db(rendered.noise) == pytest.approx(scene.noise.snr_db, abs=1e-3)
        np.testing.assert_allclose(rendered.mixture, speech + rendered.noise, atol=1e-6)
        if scene.reference.kept:
            clean = replace(scene, reference=replace(scene.reference, noise=None))
            reference = render(clean, config.audio, config.mixing).reference
            assert speech_db(reference) == pytest.approx(scene.reference.level_db, abs=1e-3)
            if scene.reference.noise is not None:
                snr_db = speech_db(reference) - level_db(rendered.reference - reference)
                assert snr_db == pytest.approx(scene.reference.noise.snr_db, abs=0.05)
        else:
            assert not rendered.reference.any()


def test_a_voice_is_as_loud_whether_it_pauses_or_not(make_config: MakeConfig, tmp_path: Path) -> None:
    speech = np.random.default_rng(0).uniform(-0.2, 0.2, 8000)
    sf.write(tmp_path / "short.wav", speech, 8000, subtype="FLOAT")
    sf.write(tmp_path / "long.wav", np.tile(speech, 2), 8000, subtype="FLOAT")
    config = make_config(mixing=QUIET)
    scene, _ = render_at(config, load_corpus(config), 0)
    heard = []
    for name, length in (("short", 8000), ("long", 16000)):
        recording = Recording(str(tmp_path / f"{name}.wav"), name, 8000, length)
        voice = Voice("s", recording, 0.0, 0.0, 1.0, None)
        alone = render(replace(scene, target=voice, interferers=(), noise=None), config.audio, config.mixing)
        heard.append(alone.target[:8000])
    np.testing.assert_allclose(heard[0], heard[1], rtol=1e-5)


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
            turn = 3000 - 400  # cross-faded over 50 ms
            np.testing.assert_allclose(noise[:10000], noise[turn : turn + 10000], atol=1e-6)
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
    scene, rendered = render_at(config, load_corpus(config), 0)
    assert scene.noise is not None and rendered.noise is not None and rendered.noise.any()
    noiseless = replace(scene, noise=replace(scene.noise, recording=silence))
    quiet = render(noiseless, config.audio, config.mixing)
    np.testing.assert_array_equal(quiet.mixture, np.add.reduce(quiet.voices))
    mute = replace(scene.interferers[0], voice=replace(scene.interferers[0].voice, recording=silence, rir=None))
    with pytest.raises(InaudibleError, match=r"silence\.flac: speaker .* is above -60 dB for 0\.00 s") as caught:
        render(replace(noiseless, interferers=(mute, *scene.interferers[1:])), config.audio, config.mixing)
    assert caught.value.number == 1
    # Where nothing has to be audible, a mixture still has to be.
    anything = config.mixing.model_copy(update={"min_target_seconds": 0})
    with pytest.raises(InaudibleError, match="nothing is audible"):
        render(replace(noiseless, target=None, interferers=(mute,)), config.audio, anything)


def test_voices_are_audible_or_drawn_again_one_by_one(make_config: MakeConfig, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    speakers = []
    for speaker in "abc":
        recordings = []
        for number in range(3):
            # 20 s of room noise at -70 dB, in which somebody speaks for 5 s.
            samples = 10**-3.5 * rng.standard_normal(160000)
            samples[60000:100000] += rng.uniform(-0.3, 0.3, 40000)
            path = tmp_path / f"{speaker}{number}.wav"
            sf.write(path, samples, 8000, subtype="FLOAT")
            recordings.append(Recording(str(path), path.name, 8000, 160000))
        speakers.append(Speaker(speaker, tuple(recordings)))
    pool = Pool(tuple(speakers), (), ())
    config = make_config(mixing={"num_interferers": (2, 2), "reference_dropout": 0, "sir_db": (0, 0)})
    attempts = []
    for index in range(25):
        scene, rendered = render_index(0, "t", index, settings_at(config, 2), pool, config.audio, config.mixing)
        attempts.append(scene.attempt)
        # Room noise is Gaussian and flat in time; amplified to the level of speech, it would have no quiet frames.
        for samples in (*rendered.voices, rendered.reference):
            assert np.count_nonzero(np.abs(samples) > 10 ** (-35 / 20)) > 0.2 * 4000
        again, same_audio = render_index(0, "t", index, settings_at(config, 2), pool, config.audio, config.mixing)
        assert again == scene and same(same_audio, rendered)
    assert all(max(attempt[voice] for attempt in attempts) > 0 for voice in range(3))
    assert max(max(attempt) for attempt in attempts) < 100


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
    room = Room("room", (Recording(str(tmp_path / "rir.wav"), "rir", 8000, 800),))
    pool = replace(corpus.train, rooms=(room,))
    with pytest.raises(DataError, match=r"rir\.wav: this impulse response is digital silence"):
        render_index(0, "t", 0, settings_at(config, 0), pool, config.audio, config.mixing)
