"""Perceptual metrics are those of the libraries that papers use, and survive what models make of speech."""

import importlib.util
import sys

import numpy as np
import pesq
import pystoi
import pytest
import torch
from torchmetrics.functional.audio import signal_distortion_ratio

from hifitse.audio.files import Samples, read_audio, resample
from hifitse.errors import UsageError
from hifitse.perceptual.registry import PERCEPTUAL, chosen, measure_perceptual
from hifitse.perceptual.signals import Signals
from tests.helpers import DATA, SPEECH

RATE = 16000
ONCE = [name for name in PERCEPTUAL if name not in ("dnsmos_sig", "dnsmos_bak")]
"""The others come with DNSMOS's third."""
INTRUSIVE = ("sdr", "sdri", "sir", "sar", "pesq_nb", "pesq_wb", "stoi", "estoi")


def values(signals: Signals, *names: str) -> dict[str, float]:
    return measure_perceptual([PERCEPTUAL[name] for name in names], signals)[0]


@pytest.fixture(scope="module")
def signals() -> Signals:
    one, other = (read_audio(sorted(SPEECH.rglob("*.flac"))[number], RATE) for number in (0, 49))
    # As long as one window of DNSMOS after it was repeated.
    length = 37000
    one, other = one[:length], other[:length]
    noise = np.random.default_rng(0).standard_normal(length, np.float32)
    return Signals(one + 0.3 * other + 0.01 * noise, one, one + other, (other,), RATE)


def altered(signals: Signals, estimate: Samples) -> Signals:
    return Signals(estimate, signals.target, signals.mixture, signals.interferers, RATE)


def test_figures_are_those_of_the_libraries_called_by_hand(signals: Signals) -> None:
    found = values(signals, *INTRUSIVE)
    estimate, target, mixture = signals.estimate, signals.target, signals.mixture
    sdr, sdr_of_mixture = (
        signal_distortion_ratio(torch.from_numpy(part).double(), torch.from_numpy(target).double()).item()
        for part in (estimate, mixture)
    )
    narrow = [resample(part, RATE, 8000) for part in (target, estimate)]
    expected = {
        "sdr": sdr,
        "sdri": sdr - sdr_of_mixture,
        "pesq_nb": pesq.pesq(8000, *narrow, "nb"),
        "pesq_wb": pesq.pesq(RATE, target, estimate, "wb"),
        "stoi": pystoi.stoi(target, estimate, RATE),
        "estoi": pystoi.stoi(target, estimate, RATE, extended=True),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-6)


def test_sir_hears_the_other_voice_and_sar_the_noise(signals: Signals) -> None:
    voice, noise = signals.interferers[0], np.random.default_rng(1).standard_normal(len(signals.target), np.float32)
    leaking = values(altered(signals, signals.target + 0.1 * voice), "sir", "sar")
    noisy = values(altered(signals, signals.target + 0.01 * noise), "sir", "sar")
    assert leaking["sar"] > leaking["sir"] + 20 and noisy["sir"] > noisy["sar"] + 5
    alone = Signals(signals.estimate, signals.target, signals.mixture, (), RATE)
    assert values(alone, "sir", "sar") == {}, "nothing is known of the interferers"


@pytest.mark.parametrize("name", ONCE)
def test_a_silent_estimate_has_a_value_and_the_same_one_each_time(signals: Signals, name: str) -> None:
    _skip_without_encoder(name)
    silent = [measure_perceptual([PERCEPTUAL[name]], altered(signals, 0 * signals.estimate)) for _ in range(2)]
    (figures, notes), again = silent
    assert (figures, notes) == again
    assert np.isfinite(figures[name])
    if not name.startswith("dnsmos"):
        assert "silent" in notes[0] or "no voice" in notes[0]
        assert figures[name] < values(signals, name)[name]


@pytest.mark.parametrize("name", ONCE)
def test_what_is_too_short_or_has_no_target_is_noted(signals: Signals, name: str) -> None:
    _skip_without_encoder(name)
    short = Signals(*(part[:1600] for part in (signals.estimate, signals.target, signals.mixture)), (), RATE)
    figures, notes = measure_perceptual([PERCEPTUAL[name]], short)
    assert name in figures or notes or name in ("sir", "sar")
    silent = Signals(signals.estimate, 0 * signals.target, signals.mixture, signals.interferers, RATE)
    assert measure_perceptual([PERCEPTUAL[name]], silent) == ({}, [f"{name}: the target is silent"])


def test_dnsmos_prefers_clean_speech(signals: Signals) -> None:
    names = ("dnsmos_ovrl", "dnsmos_sig", "dnsmos_bak")
    clean, noisy = (values(altered(signals, part), *names) for part in (signals.target, signals.estimate))
    # As speechmos 0.0.1.1 computes it for this recording.
    expected = dict(zip(names, (3.023595, 3.323022, 3.988188), strict=True))
    assert clean == pytest.approx(expected, abs=1e-4)
    assert all(clean[name] > noisy[name] for name in names)


def test_speaker_similarity_tells_voices_apart() -> None:
    _skip_without_encoder("speaker_similarity")
    folders = sorted(SPEECH.iterdir())
    one, same, other = (
        read_audio(sorted(f.iterdir())[n], RATE) for f, n in ((folders[0], 0), (folders[0], 4), (folders[1], 0))
    )

    def similarity(estimate: Samples, target: Samples) -> float:
        found = values(Signals(estimate, target, target, (), RATE), "speaker_similarity")["speaker_similarity"]
        return found

    assert similarity(one, one) == pytest.approx(1)
    assert similarity(one, same) > similarity(one, other) + 0.1


@pytest.mark.parametrize("kind", ["waveform", "filter_banks"])
def test_any_onnx_encoder_will_do(signals: Signals, kind: str) -> None:
    encoder = DATA / "encoders" / f"{kind}.onnx"
    ours = Signals(signals.estimate, signals.target, signals.mixture, (), RATE, encoder)
    found = values(ours, "speaker_similarity")["speaker_similarity"]
    assert 0 < found < 1
    if kind == "waveform":
        # The embedding of this one is the lowest and the highest sample.
        pair = [np.array([part.min(), part.max()]) for part in (signals.estimate, signals.target)]
        assert found == pytest.approx(pair[0] @ pair[1] / np.prod([np.linalg.norm(part) for part in pair]))


def test_what_cannot_be_had_is_told_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="--metrics pesk: unknown; known: sdr, "):
        chosen(["pesk"], RATE)
    with pytest.raises(UsageError, match="pesq_wb: is defined at 16000 Hz, and there are only 8000 Hz"):
        chosen(["pesq_wb"], 8000)
    with pytest.raises(UsageError, match="not readable as an ONNX model"):
        chosen(["speaker_similarity"], RATE, DATA / "tiny.yaml")
    for package, name in {"pesq": "pesq_wb", "pystoi": "stoi", "fast_bss_eval": "sdr"}.items():
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(UsageError, match=rf"{package} is not installed; pip install 'hifitse\[metrics\]'"):
            chosen([name], RATE)


def _skip_without_encoder(name: str) -> None:
    if name == "speaker_similarity" and importlib.util.find_spec("resemblyzer") is None:
        pytest.skip("resemblyzer is not installed")
