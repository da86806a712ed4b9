"""The tools that a training is reported to; each has a section of its own kind."""

from typing import Annotated, Literal

from pydantic import Field

from hifitse.config.section import Section, Text

_Label = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]*$", max_length=100)]


class TrackerConfig(Section):
    """What the sections of all tools share."""

    num_scenes: Annotated[int, Field(ge=0, le=100)] = 3
    """At each validation, the tool gets audio and spectrograms of so many scenes, the first ones; 0: none."""


class TensorBoardConfig(TrackerConfig):
    kind: Literal["tensorboard"]
    """Event files in the run: tensorboard --logdir runs."""


class TrackioConfig(TrackerConfig):
    kind: Literal["trackio"]
    """A local database, shown by trackio show; needs the extra `trackio`."""
    project: _Label = "hifitse"
    """The project that runs are shown together in."""


class WandbConfig(TrackerConfig):
    kind: Literal["wandb"]
    """Weights & Biases, or offline with WANDB_MODE=offline; needs the extra `wandb`."""
    project: _Label = "hifitse"
    """The project that runs are shown together in."""


class MlflowConfig(TrackerConfig):
    kind: Literal["mlflow"]
    """An MLflow server, or a local store; needs the extra `mlflow`."""
    experiment: _Label = "hifitse"
    """The experiment that runs are shown together in."""
    uri: Annotated[Text, Field(max_length=1000)] | None = None
    """The server or store; null: what MLFLOW_TRACKING_URI says, else MLflow's default."""


TrackingConfig = Annotated[TensorBoardConfig | TrackioConfig | WandbConfig | MlflowConfig, Field(discriminator="kind")]
