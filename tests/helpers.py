"""What tests import: where the bundled data are, and the shape of what the command line gives back."""

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import soundfile as sf

from hifitse.config.files import BUNDLED
from hifitse.json_log import append_bytes, json_lines

DATA = Path(__file__).parent / "data"
DEMO_CORPUS = BUNDLED / "demo_corpus"
SPEECH = DEMO_CORPUS / "speech"
TINY = DATA / "tiny.yaml"
MUON = "train.optimizer={kind: muon}"
_STFT = "stft: {n_fft: 128, window: 128, hop: 64}"
NETWORKS = {
    "compact": "model.feature_dim=16",
    "attention": (
        f"model={{kind: attention, {_STFT}, feature_dim: 16, hidden_dim: 24, embedding_dim: 8, num_mels: 16, "
        "conv_channels: 4}"
    ),
    "band_attention": (
        f"model={{kind: band_attention, {_STFT}, num_bands: 8, feature_dim: 16, hidden_dim: 24, num_blocks: 1, "
        "num_heads: 2}"
    ),
}
"""An override of tiny.yaml for each network that may train with Muon."""


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


Cli = Callable[..., Outcome]


def fill_group(group: h5py.Group, paths: list[Path]) -> None:
    """Put files into a group, as datasets 0, 1, ... of float32."""
    recordings = [sf.read(path, dtype="float32")[0] for path in paths]
    for number, samples in enumerate(recordings):
        group[str(number)] = np.asarray(samples)
    group.attrs["count"] = len(recordings)
    group["durations"] = [len(samples) for samples in recordings]
    group["filenames"] = [path.name for path in paths]


def make_strangers(root: Path) -> Path:
    """Make a speech corpus of the bundled speakers under other names."""
    root.mkdir()
    for folder in SPEECH.iterdir():
        (root / f"stranger_{folder.name}").symlink_to(folder)
    return root


def append_rows(path: Path, *rows: dict[str, object]) -> None:
    """Append rows to a log, as a run that goes on would."""
    append_bytes(path, json_lines(rows).encode())


@contextmanager
def files_no_longer_than(num_bytes: int) -> Iterator[None]:
    """As if the disk were full: no file of this process grows beyond so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
