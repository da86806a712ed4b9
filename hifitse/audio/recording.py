"""A recording: what a corpus, a scene and a reader of samples have in common."""

from dataclasses import dataclass, field

from hifitse.audio.hdf5 import split_address


@dataclass(frozen=True, slots=True)
class Recording:
    """One recording: where it is, its name within its corpus, and what its header says."""

    path: str
    """Where the file is, or the address of a recording in an HDF5 file: ``/corpora/vctk.h5::p225/3``."""
    name: str
    """Its path relative to its root, with forward slashes: the same on every machine."""
    sample_rate: int
    """In Hz."""
    num_frames: int
    """Length at that rate."""
    changed_ns: int = field(default=0, compare=False)
    """Time of the last change of an HDF5 file, in ns: the reader refuses one that changed since. 0: not checked."""
    channel: int = 0
    """Which channel is read; of a file with fewer the last."""

    @property
    def seconds(self) -> float:
        return self.num_frames / self.sample_rate

    @property
    def file(self) -> str:
        """The file that it is in: of a recording in an HDF5 file, that file."""
        inside = split_address(self.path)
        return inside[0] if inside else self.path
