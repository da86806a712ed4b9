"""Where recordings come from, how scenes are mixed from them, and how that changes over the training."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from hifitse.config.section import Count, Fraction, Name, NonNegative, NumInterferers, Positive, Range, Section


class SimulatedRooms(Section):
    num_rooms: Count = 200
    """How many room impulse responses to simulate, once, at the start."""
    rt60_seconds: Range = (0.15, 0.6)
    """Range of the reverberation time, in seconds."""
    size_meters: Range = (3.0, 10.0)
    """Range of the length and the width of a room, in metres; its height is between 2.4 and 4."""


class WeightedCorpus(Section):
    path: Path
    """Where the corpus is: a folder, a JSONL manifest, or an HDF5 file."""
    weight: Positive | None = None
    """How often training draws from this corpus, compared with the others; null: 1 if any of them has a weight."""


CorpusEntry = Annotated[
    Annotated[Path, Tag("path")] | Annotated[WeightedCorpus, Tag("WeightedCorpus")],
    Discriminator(lambda value: "WeightedCorpus" if isinstance(value, dict | WeightedCorpus) else "path"),
]
"""A path, or ``{path: ..., weight: ...}``."""


class DataConfig(Section):
    speech: tuple[CorpusEntry, ...] = Field(min_length=1)
    """Speech corpora: folders laid out as <root>/<speaker>/**/<file>, JSONL manifests, or HDF5 files."""
    noise: tuple[CorpusEntry, ...] = ()
    """Noise corpora: folders of files, JSONL manifests, or HDF5 files. Empty: no recorded noise."""
    rir: tuple[CorpusEntry, ...] = ()
    """Room impulse responses: folders of files, JSONL manifests, or HDF5 files. Empty: no recorded rooms."""
    generated_noise: bool = False
    """Without noise corpora, mix in generated noise (white to brown, drawn for each scene)."""
    simulated_rooms: SimulatedRooms | None = None
    """Without RIR corpora, convolve with simulated rooms (needs the extra `rooms`)."""
    exclude: tuple[str, ...] = ("*_mic2.*",)
    """File name patterns to leave out (the default skips the second microphone of VCTK)."""
    split: Literal["auto", "speaker", "utterance"] = "auto"
    """What validation holds out: whole speakers, or utterances of every speaker where speakers are too few."""
    held_out_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Share of the speakers (or of each speaker's utterances) that only validation hears."""
    num_workers: Annotated[int, Field(ge=0)] = 4
    """Loader processes that render scenes; 0 renders in the training process."""
    cache_megabytes: NonNegative = 0
    """Memory in which each loader process keeps short recordings decoded; worth it for small corpora."""
    prefetch: Count = 4
    """Micro-batches that each loader process renders ahead."""


class ReferenceNoise(Section):
    probability: Fraction = 0.5
    """Share of the references that get noise and a room, once the ramp is over."""
    ramp_start_step: Annotated[int, Field(ge=0)] = 0
    """Step at which that share starts to grow from 0."""
    ramp_end_step: Annotated[int, Field(ge=0)] = 0
    """Step from which that share holds."""
    snr_db: Range = (5.0, 20.0)
    """Level of the reference speech over its noise, in dB."""

    @model_validator(mode="after")
    def _ramp_ascends(self) -> "ReferenceNoise":
        if self.ramp_start_step > self.ramp_end_step:
            raise ValueError(f"ramp_start_step {self.ramp_start_step} is after ramp_end_step {self.ramp_end_step}")
        return self


class MixingConfig(Section):
    num_interferers: NumInterferers = (1, 3)
    """How many other speakers talk in a mixture, both ends included."""
    level_db: Range = (-28.0, -20.0)
    """RMS level of the target (in TA scenes: the level it would have had), in dB below full scale."""
    sir_db: Range = (-5.0, 5.0)
    """Level of the target over each interferer, in dB."""
    snr_db: Range = (-5.0, 15.0)
    """Level of all speech in the mixture over the noise, in dB."""
    noise_probability: Fraction = 1.0
    """Share of the mixtures that have noise."""
    rir_probability: Fraction = 1.0
    """Share of the voices that are heard in a room; the target is then the reverberant voice."""
    speeds: tuple[Annotated[float, Field(ge=0.5, le=2)], ...] = Field(default=(0.9, 1.0, 1.1), min_length=1)
    """Speed factors a voice may get; a target and its reference always share one."""
    reference_noise: ReferenceNoise = ReferenceNoise()
    """Noise in the reference, and how it grows over the training."""
    reference_dropout: Fraction = 0.1
    """Share of the training scenes whose reference is replaced by digital silence (no reference)."""
    peak_limit: Annotated[float, Field(gt=0, le=1)] = 0.95
    """Mixtures that peak above this are scaled down to it, the target with them."""
    min_target_seconds: NonNegative = 0.5
    """A TP scene is drawn again until its target is above silence_db for this long, in seconds."""
    silence_db: float = -60.0
    """Level below which a 20 ms frame of a recording counts as silent, in dB below full scale."""


class Phase(Section):
    name: Name
    """Name of the phase, e.g. tp or tp_ta."""
    until: Count | None = None
    """Step at which the phase ends (steps below it belong to it); the last phase has none."""
    absent_ratio: Annotated[float, Field(ge=0, lt=1)]
    """Share of the scenes without the target speaker; they are spread evenly over the steps."""
    num_interferers: NumInterferers | None = None
    """In this phase, instead of mixing.num_interferers."""
    sir_db: Range | None = None
    """In this phase, instead of mixing.sir_db, in dB."""
    snr_db: Range | None = None
    """In this phase, instead of mixing.snr_db, in dB."""
