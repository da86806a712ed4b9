"""Simulated rooms: impulse responses of shoebox rooms by the image source method, made once and kept.

The method is that of Allen and Berkley (1979), as implemented by pyroomacoustics.
"""

import hashlib
import os
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np

from hifitse.audio.fades import fade_out
from hifitse.audio.files import Samples, write_audio
from hifitse.audio.header_cache import cache_folder
from hifitse.config.data import SimulatedRooms
from hifitse.console import duration, info
from hifitse.corpus.scan import Progress
from hifitse.errors import ConfigError, DataError
from hifitse.seeding import generator

_SEED = 0
_VERSION = 2
_NUM_POSITIONS = 4
"""Of voices in each room: as many as the default mixture has."""
_HEIGHT_METERS = (2.4, 4.0)
_SMALLEST_METERS = 1.5
_WALL_DISTANCE_METERS = 0.5
_MOUTH_HEIGHT_METERS = (1.0, 1.9)
# Sabine's formula, t = 24 ln(10) / c * V / (S a): what is left at a = 0.95 is the shortest rt60 of a room.
_SABINE = 24 * np.log(10) / 343.0
_MOST_ABSORPTION = 0.95
_MOST_ATTEMPTS = 1000
_LONG_SECONDS = 30.0
_CUT_FADE_SECONDS = 0.05


def simulate_rooms(settings: SimulatedRooms, sample_rate: int, progress: Progress | None = None) -> Path:
    """Return a folder of WAV impulse responses in the cache folder, simulating them if they are not there yet.

    Each room is a folder, ``room_00000``, with a response for each position of a voice.

    Args:
        settings: how many, their reverberation times in seconds and sizes in metres.
        sample_rate: in Hz.
        progress: called with (rooms done, rooms in all, description).

    Raises:
        ConfigError: pyroomacoustics is not installed, or no room of these sizes has such an rt60.
        DataError: the cache folder cannot be written.
    """
    if settings.size_meters[0] < _SMALLEST_METERS or settings.rt60_seconds[0] <= 0:
        raise ConfigError(
            f"data.simulated_rooms: size_meters {settings.size_meters} must start at {_SMALLEST_METERS} or above, "
            f"and rt60_seconds {settings.rt60_seconds} above 0"
        )
    key = repr((_VERSION, _SEED, sample_rate, sorted(settings.model_dump().items())))
    folder = cache_folder() / f"rooms-{hashlib.blake2b(key.encode(), digest_size=12).hexdigest()}"
    if folder.is_dir():
        return folder
    temporary, started = None, time.monotonic()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix="rooms-", suffix=".tmp", dir=folder.parent))
        for room in range(settings.num_rooms):
            positions = temporary / f"room_{room:05d}"
            positions.mkdir()
            for number, response in enumerate(_simulate(settings, sample_rate, room)):
                write_audio(positions / f"position_{number}.wav", response, sample_rate)
            if room == 0 and (seconds := (time.monotonic() - started) * settings.num_rooms) > _LONG_SECONDS:
                info(
                    f"simulating {settings.num_rooms} rooms, once: about {duration(seconds)}; they are kept in {folder}"
                )
            if progress is not None:
                progress(room + 1, settings.num_rooms, "simulating rooms")
        _rename(temporary, folder)
    except OSError as error:
        raise DataError(
            f"{folder}: cannot keep the simulated rooms there ({(error.strerror or str(error)).lower()}); "
            "set XDG_CACHE_HOME to a folder that can be written"
        ) from None
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _rename(temporary: Path, folder: Path) -> None:
    try:
        os.rename(temporary, folder)
    except OSError:
        if not folder.is_dir():  # else another run was faster, and wrote the same
            raise


def _simulate(settings: SimulatedRooms, sample_rate: int, room: int) -> list[Samples]:
    """Return the impulse responses (n,) of a room, from each position to its microphone.

    They are cut where the room has decayed by about 70 dB.
    """
    try:
        import pyroomacoustics
    except ImportError:
        raise ConfigError(
            "data.simulated_rooms: needs pyroomacoustics; pip install 'hifitse[rooms]', or give data.rir"
        ) from None
    # Several threads would add the images in an order that depends on the machine.
    pyroomacoustics.constants.set("num_threads", 1)
    rng = generator(_SEED, "room", room)
    size, rt60_seconds = _size_and_rt60(settings, rng)
    absorption, max_order = pyroomacoustics.inverse_sabine(rt60_seconds, size)
    shoebox = pyroomacoustics.ShoeBox(
        size, fs=sample_rate, materials=pyroomacoustics.Material(absorption), max_order=max_order
    )
    # Sound takes the same paths in both directions, so one source at the place of the microphone gives all positions
    # their responses: at half the time and memory of four sources.
    for add in [shoebox.add_source] + [shoebox.add_microphone] * _NUM_POSITIONS:
        x, y = (rng.uniform(_WALL_DISTANCE_METERS, length - _WALL_DISTANCE_METERS) for length in size[:2])
        add([x, y, rng.uniform(*_MOUTH_HEIGHT_METERS)])
    shoebox.compute_rir()
    length, fade = round((1.15 * rt60_seconds + 0.05) * sample_rate), round(_CUT_FADE_SECONDS * sample_rate)
    return [fade_out(np.asarray(response[:length], np.float32), fade) for (response,) in shoebox.rir]


def _size_and_rt60(settings: SimulatedRooms, rng: np.random.Generator) -> tuple[list[float], float]:
    """Draw a size and a reverberation time that walls of that size can have."""
    lowest, highest = settings.rt60_seconds
    for _ in range(_MOST_ATTEMPTS):
        length, width = rng.uniform(*settings.size_meters, size=2)
        height = rng.uniform(*_HEIGHT_METERS)
        surface = 2 * (length * width + length * height + width * height)
        shortest = _SABINE * length * width * height / (surface * _MOST_ABSORPTION)
        if shortest <= highest:
            return [float(length), float(width), float(height)], float(rng.uniform(max(lowest, shortest), highest))
    raise ConfigError(
        f"data.simulated_rooms: rooms of {settings.size_meters} m cannot have an rt60 of {settings.rt60_seconds} s, "
        "even with bare openings for walls; raise rt60_seconds or lower size_meters"
    )
