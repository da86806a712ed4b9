"""Formats that libsndfile does not know, by way of ffmpeg where it is installed: m4a, and the sound of videos."""

import shutil
import subprocess
from pathlib import Path

from hifitse.errors import DataError

SUFFIXES = (".m4a", ".mp4", ".aac", ".wma", ".amr", ".3gp", ".webm", ".mkv", ".mov")


def needs_ffmpeg(path: Path) -> bool:
    """Tell by its name whether a file is one for ffmpeg.

    Raises:
        DataError: it is, and it or ffmpeg is not there.
    """
    if path.suffix.lower() not in SUFFIXES:
        return False
    if not path.is_file():
        raise DataError(f"{path}: no such audio file in {Path.cwd()}; correct the path, or put it back")
    if not shutil.which("ffmpeg"):
        raise DataError(
            f"{path}: {path.suffix} files are read by ffmpeg, which is not on PATH; install it, or convert it"
        )
    return True


def decoded(path: Path, folder: Path) -> Path:
    """Return a file that libsndfile reads: the path itself, or what ffmpeg makes of it in a folder.

    Raises:
        DataError: ffmpeg is not there, or does not read it.
    """
    if not needs_ffmpeg(path):
        return path
    wav = folder / f"{len(list(folder.iterdir()))}.wav"
    # "file:" as ffmpeg takes what is before a colon for a protocol; rf64 for what is longer than a WAV can be.
    command = ["ffmpeg", "-nostdin", "-loglevel", "error", "-i", f"file:{path}", "-vn", "-c:a", "pcm_f32le"]
    done = subprocess.run([*command, "-rf64", "auto", str(wav)], stdin=subprocess.DEVNULL, capture_output=True)
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"]
        raise DataError(f"{path}: ffmpeg does not read it ({lines[-1]}); repair or remove it")
    return wav
