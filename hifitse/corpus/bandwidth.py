"""How much of the model's band the recordings hold: by their headers, and by what is really in them.

A response of 16 kHz in a system of 48 kHz takes everything above 8 kHz away from all voices, the target's included:
the model then learns to remove it. Neither loss nor metric shows that.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft

from hifitse.audio.files import read_audio
from hifitse.audio.recording import Recording
from hifitse.config.schema import Config
from hifitse.seeding import order_by_hash

_NUM_MEASURED = 20
_MEASURED_SECONDS = 4.0
_FFT_SIZE = 4096
# The noise of 16 bits lies about there; what a microphone hears, above it. A response is as loud at all frequencies as
# its room lets it be, and one of a low rate that begins at once holds a little of everything.
_EMPTY_DB, _EMPTY_RESPONSE_DB = -70.0, -40.0
_LEAST = 1e-20


@dataclass(frozen=True, slots=True)
class BandStats:
    """Where in the model's band the energy of some recordings is."""

    recordings: int
    """How many were measured."""
    share_above_db: dict[int, float]
    """Frequency in Hz (a third, a half, two thirds of the band) to the share of the energy above it in dB, averaged."""
    empty_above: dict[int, int]
    """Frequency in Hz to how many hold nothing above it: less than -70 dB of their energy, of responses -40."""


def rate_problems(
    config: Config, speech: Sequence[Recording], noises: Sequence[Recording], rirs: Sequence[Recording]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what to note, and what to warn of: recordings below the model's rate, and how much of its band is lost."""
    rate, mixing = config.audio.sample_rate, config.mixing
    notes = _below(speech, rate, "data.speech", "recordings", "the model hears no voice there from them")
    warnings = []
    if mixing.noise_probability or mixing.reference_noise.probability:
        what = f"voices stay clean there; give noise of {rate / 1000:g} kHz"
        warnings += _below(noises, rate, "data.noise", "recordings", what)
    if mixing.rir_probability or mixing.reference_noise.probability:
        what = (
            f"all voices in these rooms lose that, the target, too; give responses of {rate / 1000:g} kHz or "
            "data.simulated_rooms, or set mixing.rir_probability to 0"
        )
        warnings += _below(rirs, rate, "data.rir", "impulse responses", what)
    return tuple(notes), tuple(warnings)


def _below(recordings: Sequence[Recording], rate: int, key: str, what: str, consequence: str) -> list[str]:
    low = Counter(recording.sample_rate for recording in recordings if recording.sample_rate < rate)
    if not low:
        return []
    lowest = min(low)
    rates = ", ".join(f"{low_rate / 1000:g}" for low_rate in sorted(low))
    return [
        f"{key}: {low.total()} of {len(recordings)} {what} have a rate below the model's {rate / 1000:g} kHz ({rates} "
        f"kHz), and nothing above {lowest / 2000:g} kHz, {1 - lowest / rate:.0%} of its band: {consequence}"
    ]


def band_stats(recordings: Sequence[Recording], sample_rate: int, *, responses: bool = False) -> BandStats:
    """Measure a few of the recordings, chosen by a hash of their names, 4 s from the middle of each.

    Args:
        responses: they are impulse responses, of which the beginning matters.

    Raises:
        DataError: one cannot be read.
    """
    names = order_by_hash(0, "band", {recording.name for recording in recordings})[:_NUM_MEASURED]
    chosen = [recording for recording in recordings if recording.name in names]
    edges = [round(share * sample_rate / 2) for share in (1 / 3, 1 / 2, 2 / 3)]
    hertz = fft.rfftfreq(_FFT_SIZE, 1 / sample_rate)
    shares: dict[int, list[float]] = {edge: [] for edge in edges}
    for recording in chosen:
        spectrum = _power_spectrum(recording, sample_rate, responses)
        for edge in edges:
            shares[edge].append(float(spectrum[hertz > edge].sum() / max(spectrum.sum(), _LEAST)))
    empty_db = _EMPTY_RESPONSE_DB if responses else _EMPTY_DB
    return BandStats(
        recordings=len(chosen),
        share_above_db={edge: _decibels(sum(found) / len(found)) for edge, found in shares.items() if found},
        empty_above={edge: sum(_decibels(share) < empty_db for share in found) for edge, found in shares.items()},
    )


def empty_band(stats: BandStats) -> int | None:
    """Return the frequency in Hz above which most of the recordings hold nothing, or None."""
    return next((edge for edge, count in stats.empty_above.items() if 2 * count > stats.recordings), None)


def _power_spectrum(recording: Recording, sample_rate: int, is_response: bool) -> npt.NDArray[np.float64]:
    """Return the mean power spectrum of frames that overlap by half (Welch 1967), (_FFT_SIZE / 2 + 1,)."""
    samples = read_audio(
        recording.path,
        sample_rate,
        0.0 if is_response else max(0.0, (recording.seconds - _MEASURED_SECONDS) / 2),
        round(_MEASURED_SECONDS * sample_rate),
        changed_ns=recording.changed_ns,
        channel=recording.channel,
    )
    # The direct sound of a response may stand at its very beginning, where the window is zero.
    ahead = _FFT_SIZE // 2 if is_response else 0
    around = np.pad(samples, (ahead, max(0, _FFT_SIZE - len(samples) - ahead)))
    frames = np.lib.stride_tricks.sliding_window_view(around, _FFT_SIZE)[:: _FFT_SIZE // 2]
    spectra = fft.rfft(frames * np.hanning(_FFT_SIZE), axis=-1)
    return np.asarray(np.square(np.abs(spectra)).mean(axis=0))


def _decibels(share: float) -> float:
    return 10 * math.log10(max(share, _LEAST))
