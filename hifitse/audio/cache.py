"""Recordings kept decoded in memory: what a small corpus costs most is decoding the same files again."""

from collections import OrderedDict

from hifitse.audio.files import Samples, first_sample, read_audio
from hifitse.audio.recording import Recording

MOST_SECONDS = 60.0
"""Longer recordings are never kept: a crop of an hour must not decode the hour."""


class DecodedRecordings:
    """Reads parts of recordings as `read_audio` does, to the bit; keeps whole short ones up to a size.

    Each process has its own. The least recently used recordings go first.
    """

    def __init__(self, megabytes: float) -> None:
        self._most_bytes = self._free_bytes = int(megabytes * 2**20)
        self._kept: OrderedDict[tuple[str, int, float], Samples] = OrderedDict()

    def read(
        self,
        recording: Recording,
        sample_rate: int,
        start_seconds: float = 0.0,
        num_samples: int | None = None,
        speed: float = 1.0,
    ) -> Samples:
        """Return a part of a recording, mono (n,); arguments and errors are those of `read_audio`."""
        whole = self._whole(recording, sample_rate, speed)
        if whole is None:
            return read_audio(
                recording.path,
                sample_rate,
                start_seconds,
                num_samples,
                speed,
                recording.changed_ns,
                recording.channel,
            )
        begin = first_sample(recording.sample_rate, sample_rate, start_seconds, speed)
        return whole[begin:] if num_samples is None else whole[begin : begin + num_samples]

    def _whole(self, recording: Recording, sample_rate: int, speed: float) -> Samples | None:
        key = (recording.path, sample_rate, speed)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        size_bytes = 4 * recording.seconds * sample_rate / speed
        if recording.seconds > MOST_SECONDS or size_bytes > self._most_bytes / 2:
            return None
        whole = read_audio(
            recording.path, sample_rate, speed=speed, changed_ns=recording.changed_ns, channel=recording.channel
        )
        whole.flags.writeable = False
        self._kept[key] = whole
        self._free_bytes -= whole.nbytes
        while self._free_bytes < 0:
            self._free_bytes += self._kept.popitem(last=False)[1].nbytes
        return whole
