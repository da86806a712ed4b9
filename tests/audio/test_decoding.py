"""What libsndfile does not read goes through ffmpeg, and where that is missing the error says so."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from hifitse.audio.decoding import decoded, needs_ffmpeg
from hifitse.audio.files import read_audio
from hifitse.errors import DataError

FFMPEG = """#!{python}
# Stands in for ffmpeg: the "m4a" is a WAV file.
import shutil, sys
source, target = sys.argv[sys.argv.index("-i") + 1].removeprefix("file:"), sys.argv[-1]
if open(source, "rb").read(4) != b"RIFF":
    print("moov atom not found", file=sys.stderr)
    print("Invalid data found when processing input", file=sys.stderr)
    sys.exit(1)
shutil.copy(source, target)
"""


@pytest.fixture
def with_ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin" / "ffmpeg"
    program.parent.mkdir()
    program.write_text(FFMPEG.format(python=sys.executable))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    samples = np.random.default_rng(0).standard_normal(8000).astype(np.float32)
    soundfile.write(tmp_path / "a:b.wav", samples, 8000, "FLOAT")
    return (tmp_path / "a:b.wav").rename(tmp_path / "a:b.M4A")


def test_it_is_decoded_into_the_folder(with_ffmpeg: None, recording: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    wav, again = decoded(recording, folder), decoded(recording, folder)
    assert wav != again and wav.parent == folder
    expected = np.random.default_rng(0).standard_normal(8000).astype(np.float32)
    np.testing.assert_array_equal(read_audio(wav, 8000), expected)


def test_what_ffmpeg_cannot_read_is_named_with_its_words(with_ffmpeg: None, tmp_path: Path) -> None:
    (tmp_path / "broken.m4a").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"broken\.m4a.*Invalid data found"):
        decoded(tmp_path / "broken.m4a", tmp_path)


def test_without_ffmpeg_the_error_names_it(recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match="ffmpeg, which is not on PATH"):
        needs_ffmpeg(recording)


def test_opus_needs_none(tmp_path: Path) -> None:
    path = tmp_path / "a.opus"
    samples = 0.1 * np.sin(2 * np.pi * 300 * np.arange(16000) / 16000)
    soundfile.write(path, samples, 16000, format="OGG", subtype="OPUS")
    assert decoded(path, tmp_path) == path
    assert np.std(read_audio(path, 16000)) == pytest.approx(0.1 / 2**0.5, rel=0.05)
