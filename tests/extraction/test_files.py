"""From file to file: at the mixture's rate, with its channels, the same bytes each time, and with true figures."""

import os
import stat
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor, nn

from hifitse.audio.files import read_audio
from hifitse.checkpoint.export import TrainedModel
from hifitse.config.model import CompactConfig
from hifitse.errors import DataError
from hifitse.extraction.files import Settings, extract_all, extract_file
from hifitse.extraction.jobs import Job
from hifitse.inference import Extractor
from tests.helpers import SPEECH

RATE = 8000


class Scaled(nn.Module):
    """The mixture at another level."""

    def __init__(self, gain: float) -> None:
        super().__init__()
        self.gain = gain

    def forward(self, mixture: Tensor, reference: Tensor) -> Tensor:
        return self.gain * mixture


def extractor(gain: float = 1.0) -> Extractor:
    trained = TrainedModel(Scaled(gain), CompactConfig(kind="compact"), RATE, 7, "")
    return Extractor(trained, torch.device("cpu"))


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """Stereo at 44.1 kHz, 23 s: several chunks and blocks; both channels are low enough for a model at 8 kHz."""
    seconds = np.arange(23 * 44100) / 44100
    mixture = 0.1 * np.stack([np.sin(2 * np.pi * 440 * seconds), np.sin(2 * np.pi * 700 * seconds)], axis=1)
    soundfile.write(tmp_path / "mixture.wav", mixture, 44100, "FLOAT")
    return Job(tmp_path / "mixture.wav", (sorted(SPEECH.glob("*/*.flac"))[0],), tmp_path / "out.wav")


def test_the_output_has_the_rate_the_channels_and_the_length_of_the_mixture(job: Job) -> None:
    report = extract_file(extractor(0.5), job, Settings())
    mixture, voice = (soundfile.read(path)[0] for path in (job.mixture, job.output))
    assert soundfile.info(job.output).samplerate == 44100
    assert voice.shape == mixture.shape
    np.testing.assert_allclose(voice[2000:-2000], 0.5 * mixture[2000:-2000], atol=1e-4)
    assert report["presence_db"] == pytest.approx(-6.02, abs=0.05)
    assert report["output_peak"] == pytest.approx(0.05, abs=0.005)


def test_another_rate_and_one_channel_are_given_on_demand(job: Job) -> None:
    extract_file(extractor(), job, Settings(sample_rate=RATE, channel=1))
    voice, rate = soundfile.read(job.output, dtype="float32")
    assert rate == RATE
    # What the model gave, to the bit: nothing is resampled on the way out. Chunks are cross-faded.
    np.testing.assert_allclose(voice, read_audio(job.mixture, RATE, channel=1), atol=1e-7)


def test_two_extractions_are_equal_to_the_byte_and_leave_nothing_beside_them(job: Job) -> None:
    extract_file(extractor(), job, Settings())
    first = job.output.read_bytes()
    time.sleep(1.1)
    extract_file(extractor(), job, Settings())
    assert job.output.read_bytes() == first
    assert sorted(path.name for path in job.output.parent.iterdir()) == ["mixture.wav", "out.wav"]
    assert stat.S_IMODE(job.output.stat().st_mode) == 0o666 & ~umask()


def umask() -> int:
    value = os.umask(0)
    os.umask(value)
    return value


def test_progress_adds_up_to_the_length(job: Job) -> None:
    done: list[float] = []
    extract_file(extractor(), job, Settings(), advance=done.append)
    assert len(done) > 2
    assert sum(done) == pytest.approx(23, abs=0.01)


def test_the_score_is_a_mean_over_the_channels(job: Job, tmp_path: Path) -> None:
    mixture = soundfile.read(job.mixture)[0]
    noise = np.random.default_rng(0).standard_normal(len(mixture))
    # The second channel is 20 dB below its target, so 20 dB noisier.
    target = mixture + np.stack([0.01 * noise, 0.1 * noise], axis=1)
    soundfile.write(tmp_path / "target.wav", target, 44100, "FLOAT")
    stereo = extract_file(extractor(2.0), job, Settings(), tmp_path / "target.wav")
    each = [extract_file(extractor(2.0), job, Settings(channel=n), tmp_path / "target.wav") for n in range(2)]
    for figure in ("si_sdr_db", "rms_ratio"):
        assert stereo[figure] == pytest.approx(np.mean([report[figure] for report in each]), abs=1e-6)
    assert each[0]["si_sdr_db"] - each[1]["si_sdr_db"] > 10
    assert stereo["si_sdri_db"] == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("rate", [RATE, 16000])
def test_a_target_is_as_long_as_its_samples_not_as_its_header_says(job: Job, tmp_path: Path, rate: int) -> None:
    target = tmp_path / "target.flac"
    soundfile.write(target, 0.1 * np.random.default_rng(0).standard_normal(5 * rate), rate)
    data = bytearray(target.read_bytes())
    for frames in (30 * rate, 2**36 - 1):
        # The 36 bits of STREAMINFO that hold the number of samples.
        data[21] = data[21] & 0xF0 | frames >> 32
        data[22:26] = (frames & 0xFFFFFFFF).to_bytes(4, "big")
        target.write_bytes(data)
        assert soundfile.info(target).frames == frames
        with pytest.raises(DataError, match=r"target\.flac"):
            extract_file(extractor(), job, Settings(), target)


def test_one_that_fails_ends_none_of_the_others(job: Job, tmp_path: Path) -> None:
    silent = Job(tmp_path / "silent.wav", job.references, tmp_path / "none.wav")
    soundfile.write(silent.mixture, np.zeros(RATE), RATE)
    outcomes = list(extract_all(extractor(0.1), [silent, job], Settings()))
    assert [outcome.error is None for outcome in outcomes] == [False, True]
    assert "digital silence" in outcomes[0].to_json()["error"]
    assert not silent.output.exists() and job.output.exists()
    assert outcomes[1].seems_absent and not outcomes[0].seems_absent
    assert outcomes[1].to_json()["seems_absent"] is True
