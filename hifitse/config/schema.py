"""The configuration: one frozen tree of models, every field documented with its unit.

Here, in `hifitse.config.model` and nowhere else, a setting has a default. Files are read by `hifitse.config.files`.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from hifitse.config.data import DataConfig, MixingConfig, Phase, SceneSet
from hifitse.config.model import ModelConfig, PluginConfig
from hifitse.config.optimizer import AdamWConfig, OptimizerConfig, as_of_today
from hifitse.config.policies import HealthConfig, RetentionConfig
from hifitse.config.section import (
    Count,
    Decibels,
    MetricName,
    NonNegative,
    Requirement,
    Seconds,
    Section,
    Step,
    Steps,
    Text,
)
from hifitse.config.tracking import TensorBoardConfig, TrackingConfig

_MOST_BYTES = 10**11
"""Of scenes that are rendered at once."""


class AudioConfig(Section):
    sample_rate: Annotated[int, Field(ge=4000, le=192000)] = 48000
    """Rate of everything the model hears, in Hz; files of any other rate are resampled."""
    mixture_seconds: Seconds = 4.0
    """Length of a training mixture, in seconds."""
    reference_seconds: Seconds = 4.0
    """Length of a reference utterance, in seconds."""

    @property
    def mixture_samples(self) -> int:
        return round(self.mixture_seconds * self.sample_rate)

    @property
    def reference_samples(self) -> int:
        return round(self.reference_seconds * self.sample_rate)


class AbsentLoss(Section):
    kind: Literal["hinge", "suppression", "relative", "raw_db"] = "hinge"
    """hinge: max(0, E - target_db). suppression: a hinge, too, suppression_db below the mixture, so that every scene
    asks for the same. relative: energy over the mixture's, smooth. raw_db: E itself, which pays for silence without
    end; only for reproducing that failure."""
    target_db: Decibels = -30.0
    """hinge: level of the estimate that is silent enough, in dB below full scale."""
    suppression_db: Annotated[float, Field(gt=0, le=200)] = 20.0
    """suppression: how far below its mixture an estimate is silent enough, in dB."""
    relative_floor: Annotated[float, Field(ge=1e-12, le=1000)] = 0.01
    """relative: estimate energy over mixture energy at which the term is 3 dB (0.01 is -20 dB)."""


class LossConfig(Section):
    ta_weight: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Weight w of the absent term; the SI-SDR term has 1 - w. In a phase without TA scenes: 0 and 1."""
    absent: AbsentLoss = AbsentLoss()
    """The term of TA scenes."""
    amplitude_weight: NonNegative = 5.0
    """Weight of the TP level anchor. Measured by `make collapse`, rms_ratio at the end of three runs with hinge: 0.99
    to 1.02 with 5, 0.87 to 0.89 with 1, and 0.56 to 0.73 and falling with 0, at the same SI-SDR within 0.2 dB."""
    phase_weight: NonNegative = 0.5
    """Weight of the multi-resolution complex STFT term of TP scenes."""


class TrainConfig(Section):
    total_steps: Steps = 500_000
    """Optimizer steps in the whole training; the learning rate decays towards this step."""
    batch_size: Count = 8
    """Scenes per optimizer step, over all micro-batches and ranks."""
    micro_batch_size: Count | Literal["auto"] = "auto"
    """Scenes that are in memory at once; changes nothing but memory and speed. auto: as many as the free memory of the
    device allows when the run starts (on a CPU, as many as make it faster); from then on that number."""
    validate_every: Steps = 5000
    """Steps between validations; each one also saves a checkpoint."""
    checkpoint_every: Steps = 5000
    """Steps between checkpoints."""
    save_minutes: Annotated[float, Field(ge=0, le=100_000)] = 120
    """How long saving may keep failing, at growing intervals, before the run ends."""
    log_every: Steps = 100
    """Steps between rows in metrics.jsonl."""
    learning_rate: Annotated[float, Field(gt=0, le=10)] = 2e-4
    """Peak learning rate."""
    min_learning_rate: Annotated[float, Field(ge=0, le=10)] = 1e-5
    """Learning rate at the end of the cosine decay."""
    warmup_steps: Step = 5000
    """Steps over which the learning rate rises to its peak."""
    rewarmup_steps: Step = 500
    """Steps over which the learning rate rises back to its place after --reset-optimizer."""
    optimizer: OptimizerConfig = AdamWConfig(kind="adamw")
    """How weights follow from gradients."""
    clip_norm: Annotated[float, Field(gt=0, le=1e12)] = 5.0
    """Gradients with a larger norm are scaled down to it."""
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """Decay of the EMA weights, per step; they are validated, selected and exported."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic of the model; auto: bfloat16 on a GPU, float32 on a CPU. Losses are always float32."""
    compile: bool = False
    """Compile the network at the start, a minute or less, for faster steps; a CPU needs a C++ compiler for it."""
    cpu_threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Threads of the model on a CPU; null: one for each core. Fewer is faster where other processes use the cores."""
    deterministic: bool = False
    """Use deterministic GPU kernels: exact resume there, somewhat slower."""

    @model_validator(mode="before")
    @classmethod
    def _without_older_settings(cls, values: Any) -> Any:
        """Older ones have save_attempts, which save_minutes has replaced, and the settings of AdamW here."""
        if isinstance(values, dict):
            values = {key: value for key, value in values.items() if key != "save_attempts"}
        return as_of_today(values)

    @model_validator(mode="after")
    def _fits_together(self) -> "TrainConfig":
        if self.micro_batch_size != "auto" and self.micro_batch_size > self.batch_size:
            raise ValueError(f"micro_batch_size {self.micro_batch_size} is above batch_size {self.batch_size}")
        if self.warmup_steps >= self.total_steps:
            raise ValueError(f"warmup_steps {self.warmup_steps} must be below total_steps {self.total_steps}")
        if self.min_learning_rate > self.learning_rate:
            raise ValueError(f"min_learning_rate {self.min_learning_rate} is above learning_rate {self.learning_rate}")
        return self


class ValidationConfig(SceneSet):
    num_train_scenes: Annotated[int, Field(ge=0, le=100_000)] = 50
    """Scenes of training speakers, drawn as those of the validation, that every validation also measures: what the
    model can do with voices it knows. 0: none."""
    batch_size: Count = 4
    """Scenes that are in memory at once."""


class SelectionConfig(Section):
    metric: MetricName = "tp_si_sdr"
    """Metric by which checkpoints are ranked, among those that are within the bounds of health.guards."""
    require: tuple[Requirement, ...] = Field(default=(), max_length=100)
    """Further bounds that a checkpoint must keep to be ranked at all, e.g. ta_suppression_db>=10."""


class Config(Section):
    """Everything that defines an experiment."""

    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Seed of the initial weights and of every training scene."""
    audio: AudioConfig = AudioConfig()
    """Sample rate and lengths."""
    data: DataConfig
    """Where the recordings are, and how they are split and loaded."""
    mixing: MixingConfig = MixingConfig()
    """How scenes are mixed."""
    curriculum: tuple[Phase, ...] = Field(min_length=1, max_length=100)
    """The phases of the training, in order."""
    model: ModelConfig
    """The network."""
    loss: LossConfig = LossConfig()
    """The objective, shared by train, validate and smoke."""
    train: TrainConfig = TrainConfig()
    """The training loop."""
    validation: ValidationConfig = ValidationConfig()
    """The fixed scenes on which every checkpoint is measured, and by which the best one is selected."""
    test: SceneSet | None = None
    """The fixed scenes that report how good the selected checkpoint is, once, and never select. null: none, unless the
    official split has some."""
    health: HealthConfig = HealthConfig()
    """The guards, and what they do."""
    selection: SelectionConfig = SelectionConfig()
    """How the best checkpoint is chosen."""
    retention: RetentionConfig = RetentionConfig()
    """Which checkpoints stay on the disk."""
    tracking: Annotated[tuple[TrackingConfig, ...], Field(max_length=10)] = (TensorBoardConfig(kind="tensorboard"),)
    """The tools that the training is reported to, one of a kind; []: none."""

    on_event: Annotated[tuple[Text, ...], Field(max_length=100)] = ()
    """A command and its arguments, run on this machine for each event of the run, which it gets as JSON on its
    standard input. It is taken from configuration files and --set, never from a checkpoint or a model."""

    @property
    def test_set(self) -> SceneSet:
        """The scenes of the test, as configured or, where an official split has a test, by default."""
        return self.test or SceneSet()

    @model_validator(mode="after")
    def _phases_ascend(self) -> "Config":
        names = [phase.name for phase in self.curriculum]
        if len(set(names)) < len(names):
            raise ValueError(f"curriculum: phase names must differ, not {names}")
        last = 0
        for phase in self.curriculum[:-1]:
            if phase.until is None or phase.until <= last:
                raise ValueError(
                    f"curriculum: phase {phase.name} must end (until) after step {last}, not {phase.until}"
                )
            last = phase.until
        if self.curriculum[-1].until is not None:
            raise ValueError(f"curriculum: the last phase, {names[-1]}, lasts to train.total_steps; remove its until")
        if last >= self.train.total_steps:
            raise ValueError(
                f"curriculum: phase {names[-1]} starts at {last}, after train.total_steps {self.train.total_steps}"
            )
        return self

    @model_validator(mode="after")
    def _one_tracker_of_a_kind(self) -> "Config":
        kinds = [section.kind for section in self.tracking]
        if len(set(kinds)) < len(kinds):
            raise ValueError(f"tracking: kinds must differ, not {kinds}")
        return self

    @model_validator(mode="after")
    def _scenes_fit_into_memory(self) -> "Config":
        samples = 2 * self.audio.mixture_samples + self.audio.reference_samples
        at_once = 1 + self.data.num_workers * self.data.prefetch
        micro_batch = self.train.batch_size if self.train.micro_batch_size == "auto" else self.train.micro_batch_size
        for key, batch in (
            ("train: micro_batch_size", micro_batch),
            ("validation: batch_size", self.validation.batch_size),
        ):
            if (num_bytes := 4 * samples * batch * at_once) > _MOST_BYTES:
                raise ValueError(
                    f"{key} {batch} with audio of this length and {at_once} batches at once (data.num_workers, "
                    f"data.prefetch) takes {num_bytes / 1e9:,.0f} GB; at most {_MOST_BYTES / 1e9:.0f} are meant"
                )
        return self

    @model_validator(mode="after")
    def _segments_fill_the_stft(self) -> "Config":
        shortest = min(self.audio.mixture_samples, self.audio.reference_samples)
        stft = None if isinstance(self.model, PluginConfig) else self.model.stft
        if stft and shortest <= stft.n_fft:
            raise ValueError(f"audio: a segment of {shortest} samples is too short for model.stft.n_fft {stft.n_fft}")
        if shortest <= 2048 and self.loss.phase_weight > 0:
            raise ValueError("audio: segments must be longer than 2048 samples for loss.phase_weight above 0")
        return self

    @model_validator(mode="after")
    def _targets_fit_in_segments(self) -> "Config":
        shortest = min(self.audio.mixture_seconds, self.audio.reference_seconds)
        if self.mixing.min_target_seconds >= shortest:
            raise ValueError(
                f"mixing: min_target_seconds {self.mixing.min_target_seconds} must be below the shortest segment, "
                f"{shortest} seconds in audio"
            )
        return self
