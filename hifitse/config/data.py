"""Where recordings come from, how scenes are mixed from them, and how that changes over the training."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from hifitse.config.section import (
    Count,
    DecibelRange,
    Fraction,
    Name,
    NonNegative,
    Positive,
    Section,
    Step,
    Steps,
    Text,
    ascending,
)
from hifitse.storage import is_text

_Rt60 = Annotated[float, Field(gt=0, le=1.5)]
_Meters = Annotated[float, Field(gt=0, le=50)]
_Level = Annotated[float, Field(ge=-120, le=0)]
_Interferers = Annotated[int, Field(ge=1, le=30)]
_NumInterferers = Annotated[tuple[_Interferers, _Interferers], AfterValidator(ascending)]
_MOST_CORPORA = 1000
# All that the first version wrote of a section. Nobody else says all of it, so what has it, and not what came later, is
# the configuration of a run from before: it keeps its scenes.
_WRITTEN_DATA = frozenset(
    "speech noise rir generated_noise simulated_rooms exclude split held_out_fraction num_workers prefetch".split()
)
_WRITTEN_MIXING = frozenset(
    "num_interferers level_db sir_db snr_db noise_probability rir_probability speeds reference_noise reference_dropout "
    "peak_limit min_target_seconds silence_db".split()
)
# The image method keeps every reflection: at this ratio about 3 GB of them.
_RT60_PER_METER = 0.4


def _named_in_text(path: Path) -> Path:
    if not is_text(str(path)):
        raise ValueError(f"{path}: not UTF-8, which names of folders have to be; rename it, or link to it")
    return path


CorpusPath = Annotated[Path, AfterValidator(_named_in_text)]


class SimulatedRooms(Section):
    num_rooms: Count = 200
    """How many rooms to simulate, once, at the start; each with a microphone and four positions of voices."""
    rt60_seconds: Annotated[tuple[_Rt60, _Rt60], AfterValidator(ascending)] = (0.15, 0.6)
    """Range of the reverberation time, in seconds; at most 0.4 s for each metre of size_meters."""
    size_meters: Annotated[tuple[_Meters, _Meters], AfterValidator(ascending)] = (3.0, 10.0)
    """Range of the length and the width of a room, in metres; its height is between 2.4 and 4."""

    @model_validator(mode="after")
    def _fits_into_memory(self) -> "SimulatedRooms":
        longest, smallest = self.rt60_seconds[1], self.size_meters[0]
        if longest > _RT60_PER_METER * smallest:
            raise ValueError(
                f"rt60_seconds up to {longest} in rooms from {smallest} m on would take many GB for each; at most "
                f"{_RT60_PER_METER} s a metre are meant"
            )
        return self


class WeightedCorpus(Section):
    path: CorpusPath
    """Where the corpus is: a folder, a JSONL manifest, or an HDF5 file."""
    weight: Positive | None = None
    """How often training draws from this corpus, compared with the others; null: 1 if any of them has a weight."""


CorpusEntry = Annotated[
    Annotated[CorpusPath, Tag("path")] | Annotated[WeightedCorpus, Tag("WeightedCorpus")],
    Discriminator(lambda value: "WeightedCorpus" if isinstance(value, dict | WeightedCorpus) else "path"),
]
"""A path, or ``{path: ..., weight: ...}``."""


SamePerson = Annotated[tuple[Text, ...], Field(min_length=1, max_length=1000)]


class DataConfig(Section):
    speech: tuple[CorpusEntry, ...] = Field(min_length=1, max_length=_MOST_CORPORA)
    """Speech corpora: folders laid out as <root>/<speaker>/**/<file>, JSONL manifests, or HDF5 files."""
    noise: tuple[CorpusEntry, ...] = Field(default=(), max_length=_MOST_CORPORA)
    """Noise corpora: folders of files, JSONL manifests, or HDF5 files. Empty: no recorded noise."""
    rir: tuple[CorpusEntry, ...] = Field(default=(), max_length=_MOST_CORPORA)
    """Room impulse responses: folders of files, JSONL manifests, or HDF5 files. Empty: no recorded rooms."""
    generated_noise: bool = False
    """Without noise corpora, mix in generated noise (white to brown, drawn for each scene)."""
    simulated_rooms: SimulatedRooms | None = None
    """Without RIR corpora, convolve with simulated rooms (needs the extra `rooms`)."""
    exclude: tuple[Text, ...] = Field(default=("*_mic2.*",), max_length=1000)
    """File name patterns to leave out (the default skips the second microphone of VCTK)."""
    channel: Annotated[int, Field(ge=0, le=1023)] = 0
    """Which channel of files with several is read, from 0 on; a file with fewer gives its last."""
    split: Literal["auto", "speaker", "utterance", "official"] = "auto"
    """What validation holds out: whole speakers, or utterances of every speaker where speakers are too few (auto).
    official: what folders called train, dev or test, and the column split of manifests, say."""
    held_out_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Share of the speakers (or of each speaker's utterances), noise sessions and rooms that only validation hears."""
    min_held_out_speakers: Annotated[int, Field(ge=0, le=10_000)] = 20
    """At least so many speakers are held out, but by this no more than a quarter of all."""
    same_speakers: tuple[SamePerson, ...] | None = Field(default=None, max_length=100_000)
    """Groups of speakers' names that are one person. null: not known; then equal names in two corpora are different
    people, and may not be in two of training, validation and test. With a list, [] as well, nobody else is the same."""
    num_workers: Annotated[int, Field(ge=0, le=256)] = 4
    """Loader processes that render scenes; 0 renders in the training process."""
    cache_megabytes: NonNegative = 0
    """Memory in which each loader process keeps short recordings decoded; worth it for small corpora."""
    prefetch: Annotated[int, Field(ge=1, le=256)] = 4
    """Micro-batches that each loader process renders ahead."""
    timeout_seconds: Annotated[float, Field(gt=0, le=86400)] = 300
    """How long a loader process may let the training wait; then it is taken for stuck, and started again once."""

    @model_validator(mode="before")
    @classmethod
    def _as_it_was_split(cls, values: Any) -> Any:
        return _as_written_before(values, _WRITTEN_DATA, "min_held_out_speakers", 0)


class SceneSet(Section):
    """Scenes that measure: always the same ones, of recordings that the training never hears."""

    speech: tuple[CorpusPath, ...] = Field(default=(), max_length=_MOST_CORPORA)
    """Speech corpora of its own, laid out as those of data.speech. Empty: what is held out of those."""
    noise: tuple[CorpusPath, ...] = Field(default=(), max_length=_MOST_CORPORA)
    """Noise corpora of its own. Empty: what is held out of data.noise."""
    rir: tuple[CorpusPath, ...] = Field(default=(), max_length=_MOST_CORPORA)
    """Room impulse responses of its own. Empty: what is held out of data.rir."""
    num_scenes: Annotated[int, Field(ge=2, le=100_000)] = 400
    """How many scenes, the same for every checkpoint."""
    absent_ratio: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Share of TA scenes among them, kept exactly."""

    @model_validator(mode="after")
    def _has_both_kinds(self) -> "SceneSet":
        num_absent = int(self.num_scenes * self.absent_ratio)
        if not 0 < num_absent < self.num_scenes:
            raise ValueError(
                f"num_scenes {self.num_scenes} at absent_ratio {self.absent_ratio} gives {num_absent} TA scenes; "
                "TP and TA scenes are needed"
            )
        return self


class ReferenceNoise(Section):
    probability: Fraction = 0.5
    """Share of the references that get noise and a room, once the ramp is over."""
    ramp_start_step: Step = 0
    """Step at which that share starts to grow from 0."""
    ramp_end_step: Step = 0
    """Step from which that share holds."""
    snr_db: DecibelRange = (5.0, 20.0)
    """Active level of the reference speech over the RMS of its noise, in dB."""

    @model_validator(mode="after")
    def _ramp_ascends(self) -> "ReferenceNoise":
        if self.ramp_start_step > self.ramp_end_step:
            raise ValueError(f"ramp_start_step {self.ramp_start_step} is after ramp_end_step {self.ramp_end_step}")
        return self


class MixingConfig(Section):
    num_interferers: _NumInterferers = (1, 3)
    """How many other speakers talk in a mixture, both ends included."""
    level_db: Annotated[tuple[_Level, _Level], AfterValidator(ascending)] = (-28.0, -20.0)
    """Active speech level of the target (in TA scenes: what it would have been), in dB below full scale."""
    sir_db: DecibelRange = (-5.0, 5.0)
    """Active speech level of the target over that of each interferer, in dB."""
    snr_db: DecibelRange = (-5.0, 15.0)
    """Active level of all speech in the mixture over the RMS of the noise, in dB."""
    noise_probability: Fraction = 1.0
    """Share of the mixtures that have noise."""
    rir_probability: Fraction = 1.0
    """Share of the mixtures that are in a room: all voices in the same one, each at a position of its own."""
    target: Literal["reverberant", "early", "dry"] = "reverberant"
    """What the model is to return of a voice in a room: the voice as it is heard; its direct sound and the reflections
    of the 50 ms after it; or the dry voice at the level of its direct sound."""
    speeds: tuple[Annotated[float, Field(ge=0.5, le=2)], ...] = Field(
        default=(0.9, 1.0, 1.1), min_length=1, max_length=100
    )
    """Speed factors a voice may get; a target and its reference always share one."""
    reference_noise: ReferenceNoise = ReferenceNoise()
    """Noise in the reference, and how it grows over the training."""
    reference_dropout: Fraction = 0.1
    """Share of the TP training scenes whose reference is replaced by digital silence (no reference)."""
    reference_from: Literal["other_session", "other_recording"] = "other_session"
    """Where a reference comes from, which is never the target's recording. other_session: another chapter, video or
    folder of the speaker, where names tell and there is one. other_recording: any other recording."""
    peak_limit: Annotated[float, Field(ge=0.01, le=1)] = 0.95
    """Mixtures that peak above this are scaled down to it, the target with them."""
    min_target_seconds: NonNegative = 0.5
    """A voice is drawn again until it is above silence_db for this long in its segment, in seconds."""
    silence_db: _Level = -60.0
    """Level below which a 20 ms frame of a recording counts as silent, in dB below full scale."""

    @model_validator(mode="before")
    @classmethod
    def _as_references_were(cls, values: Any) -> Any:
        return _as_written_before(values, _WRITTEN_MIXING, "reference_from", "other_recording")


class Phase(Section):
    name: Name
    """Name of the phase, e.g. tp or tp_ta."""
    until: Steps | None = None
    """Step at which the phase ends (steps below it belong to it); the last phase has none."""
    absent_ratio: Annotated[float, Field(ge=0, lt=1)]
    """Share of the scenes without the target speaker; they are spread evenly over the steps."""
    absent_ramp_steps: Step = 0
    """Steps over which that share rises from that of the phase before; 0: it is there at once."""
    num_interferers: _NumInterferers | None = None
    """In this phase, instead of mixing.num_interferers."""
    sir_db: DecibelRange | None = None
    """In this phase, instead of mixing.sir_db, in dB."""
    snr_db: DecibelRange | None = None
    """In this phase, instead of mixing.snr_db, in dB."""

    @model_validator(mode="after")
    def _ramps_to_something(self) -> "Phase":
        if self.absent_ramp_steps and not self.absent_ratio:
            raise ValueError(f"phase {self.name}: absent_ramp_steps needs an absent_ratio above 0 to rise to")
        return self


def _as_written_before(values: Any, written: frozenset[str], key: str, value: Any) -> Any:
    """Return a section with what was done before there was `key`, if hifitse wrote the section before that."""
    return {key: value, **values} if isinstance(values, dict) and written <= values.keys() else values
