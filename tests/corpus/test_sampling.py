"""Weighted corpora: how often each is heard, and what weights leave alone."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hifitse.config.schema import Config
from hifitse.corpus.corpus import Corpus, load_corpus
from hifitse.corpus.sampling import CorpusSampler
from hifitse.mixing.curriculum import settings_at
from hifitse.mixing.scenes import Scene, draw_scene

MakeConfig = Callable[..., Config]
BELOW_ONE = st.floats(0, 1, exclude_max=True)


@st.composite
def shares(draw: st.DrawFn) -> CorpusSampler:
    owners = draw(st.lists(st.integers(0, 3), min_size=2, max_size=12))
    members = [tuple(n for n, owner in enumerate(owners) if owner == corpus) for corpus in range(4)]
    pairs = [(draw(st.floats(1e-6, 1e6)), positions) for positions in members if positions]
    return CorpusSampler(tuple(weight for weight, _ in pairs), tuple(positions for _, positions in pairs))


@given(shares=shares(), uniform=BELOW_ONE, data=st.data())
def test_what_is_picked_is_never_taken(shares: CorpusSampler, uniform: float, data: st.DataObject) -> None:
    positions = sorted(position for members in shares.members for position in members)
    taken = data.draw(st.lists(st.sampled_from(positions), unique=True, max_size=len(positions) - 1))
    assert shares.pick(uniform, taken) in set(positions) - set(taken)
    assert shares.pick(uniform, taken) == shares.pick(uniform, taken[::-1])


def test_one_draw_decides_exactly() -> None:
    shares = CorpusSampler((2.0, 1.0, 1.0), ((1, 4), (0, 2, 3), (5,)))
    picked = Counter(shares.pick((n + 0.5) / 1200) for n in range(1200))
    assert picked == {1: 300, 4: 300, 0: 100, 2: 100, 3: 100, 5: 300}
    picked = Counter(shares.pick((n + 0.5) / 1200, taken=(5, 0, 1)) for n in range(1200))
    assert picked == {4: 800, 2: 200, 3: 200}, "a corpus that is all taken does not count, the others keep their ratio"


@pytest.fixture
def load(make_config: MakeConfig, demo_corpus: Path, hdf5_corpus: Path) -> Callable[..., tuple[Config, Corpus]]:
    """Folders and HDF5 files together, as one corpus; each key of ``weights`` weighs the folder."""

    def loaded(**weights: float | None) -> tuple[Config, Corpus]:
        data = {
            kind: [{"path": demo_corpus / kind, "weight": weights.get(kind)}, hdf5_corpus / f"{kind}.h5"]
            for kind in ("speech", "noise", "rir")
        }
        config = make_config(data=data, mixing={"rir_probability": 1.0, "num_interferers": (1, 3)})
        return config, load_corpus(config)

    return loaded


def scenes(config: Config, corpus: Corpus, number: int = 1500) -> list[Scene]:
    return [draw_scene(0, "t", n, settings_at(config, 10), corpus.train, config.audio) for n in range(number)]


def test_corpora_are_heard_in_proportion_to_their_weights(load: Callable[..., tuple[Config, Corpus]]) -> None:
    config, corpus = load(speech=3.0, noise=0.25, rir=4.0)
    drawn = scenes(config, corpus)
    for name, share in (
        ("speech", np.mean([scene.speaker.startswith("speech/") for scene in drawn])),
        ("noise", np.mean([scene.noise.recording.name.startswith("noise/") for scene in drawn])),  # type: ignore[union-attr]
        ("rir", np.mean([scene.interferers[0].voice.rir.name.startswith("rir/") for scene in drawn])),  # type: ignore[union-attr]
    ):
        expected = {"speech": 0.75, "noise": 0.2, "rir": 0.8}[name]
        assert share == pytest.approx(expected, abs=0.04), name
    for scene in drawn:
        others = [interferer.voice.speaker for interferer in scene.interferers]
        assert len({scene.speaker, *others}) == 1 + len(others)


def test_without_weights_nothing_changes(load: Callable[..., tuple[Config, Corpus]], make_config: MakeConfig) -> None:
    config, corpus = load()
    paths = {
        kind: [entry.path if hasattr(entry, "path") else entry for entry in getattr(config.data, kind)]
        for kind in ("speech", "noise", "rir")
    }
    assert load_corpus(config.model_copy(update={"data": config.data.model_copy(update=paths)})) == corpus
    assert corpus.train.speaker_sampler is corpus.train.noise_sampler is corpus.train.room_sampler is None


def test_weights_change_who_is_heard_not_how_and_never_the_validation(
    load: Callable[..., tuple[Config, Corpus]],
) -> None:
    config, plain = load()
    _, weighted = load(noise=5.0, rir=5.0)
    assert weighted.held_out == plain.held_out and weighted.fingerprint == plain.fingerprint
    assert replace(weighted.train, noise_sampler=None, room_sampler=None) == plain.train
    for one, other in zip(scenes(config, plain, 50), scenes(config, weighted, 50), strict=True):
        assert (one.speaker, one.level_db, one.target and one.target.start_seconds) == (
            other.speaker,
            other.level_db,
            other.target and other.target.start_seconds,
        )


def test_a_heavy_corpus_of_few_speakers_runs_out(load: Callable[..., tuple[Config, Corpus]]) -> None:
    config, corpus = load(speech=1e6)
    drawn = scenes(config, corpus, 200)
    assert all(scene.speaker.startswith("speech/") for scene in drawn)
    assert any(len(scene.interferers) == 3 for scene in drawn)
