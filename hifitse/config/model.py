"""The sections of the networks."""

import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, ModelWrapValidatorHandler, SerializeAsAny, Tag, model_validator

from hifitse.config.bands import Bands, band_problem, generated_bands, hifi_tse_48k
from hifitse.config.section import Section, Size

_Layers = Annotated[int, Field(ge=1, le=64)]
_Bin = Annotated[int, Field(ge=0, le=2**13)]
_MOST_WEIGHTS = 10**9


def _require_size(num_weights: int) -> None:
    if num_weights > _MOST_WEIGHTS:
        raise ValueError(f"a network of about {num_weights:.2g} weights; at most {_MOST_WEIGHTS:.0e} are meant to be")


class StftConfig(Section):
    n_fft: Annotated[int, Field(ge=16, le=2**14, multiple_of=2)]
    """FFT size, in samples."""
    window: Annotated[int, Field(ge=16, le=2**14)]
    """Length of the Hann window, in samples."""
    hop: Annotated[int, Field(ge=4, le=2**13)]
    """Shift between frames, in samples; at most half the window, and a divisor of it."""

    @model_validator(mode="after")
    def _reconstructs(self) -> "StftConfig":
        if self.window > self.n_fft:
            raise ValueError(f"window {self.window} is longer than n_fft {self.n_fft}")
        if self.window % self.hop or self.window < 2 * self.hop:
            raise ValueError(f"hop {self.hop} must divide window {self.window} at least twice")
        return self

    @property
    def num_bins(self) -> int:
        return self.n_fft // 2 + 1


class GridConfig(Section):
    kind: Literal["grid"]
    """The band-split grid network of HiFi-TSE: LSTMs over bands and time, cross-attention to the reference."""
    stft: StftConfig = StftConfig(n_fft=2048, window=960, hop=480)
    """The STFT that the model works in."""
    bands: Literal["hifi_tse_48k"] | Size | Annotated[tuple[tuple[_Bin, _Bin], ...], Field(max_length=4096)] = (
        "hifi_tse_48k"
    )
    """A named layout, a number of bands to generate, or a list of [first bin, last bin]."""
    feature_dim: Size = 128
    """Features per band and frame."""
    lstm_hidden: Size = 256
    """Hidden size of each LSTM direction."""
    num_blocks: _Layers = 6
    """Grid blocks: LSTM over bands, LSTM over time, attention over time."""
    num_heads: Size = 4
    """Attention heads; a divisor of feature_dim."""
    reinject_at: tuple[Annotated[int, Field(ge=0, lt=64)], ...] = Field(default=(0, 1, 2, 3, 4, 5), max_length=64)
    """Blocks before which the reference is attended to once more."""
    normalize_level: bool = False
    """Scale mixture and reference to unit RMS before the network, and the estimate back: so the output follows the
    gain of the mixture, and not that of the reference. false: the network sees levels, as the original does."""
    activation_checkpointing: bool | Literal["auto"] = "auto"
    """Recompute each block in the backward pass: much less memory, about a third more time. auto: if the free memory
    is too small for all that a few scenes keep, see train.micro_batch_size."""

    @property
    def band_layout(self) -> Bands:
        if self.bands == "hifi_tse_48k":
            return hifi_tse_48k()
        if isinstance(self.bands, int):
            return generated_bands(self.stft.num_bins, self.bands)
        return self.bands

    @property
    def num_weights(self) -> int:
        """About how many weights the network has."""
        dim, hidden = self.feature_dim, self.lstm_hidden
        return self.num_blocks * (16 * hidden * (dim + hidden) + 8 * dim**2) + 8 * self.stft.num_bins * dim

    @model_validator(mode="after")
    def _fits_together(self) -> "GridConfig":
        _require_size(self.num_weights)
        if isinstance(self.bands, int) and 3 * self.bands > self.stft.num_bins:
            raise ValueError(
                f"bands: {self.bands} bands do not fit into {self.stft.num_bins} bins, use at most a third"
            )
        if problem := band_problem(self.band_layout, self.stft.num_bins):
            raise ValueError(f"bands: {problem}")
        if self.feature_dim % self.num_heads:
            raise ValueError(f"num_heads {self.num_heads} does not divide feature_dim {self.feature_dim}")
        if (
            list(self.reinject_at) != sorted(set(self.reinject_at))
            or max(self.reinject_at, default=0) >= self.num_blocks
        ):
            raise ValueError(
                f"reinject_at {list(self.reinject_at)} must ascend and stay below num_blocks {self.num_blocks}"
            )
        return self


class CompactConfig(Section):
    kind: Literal["compact"]
    """A small full-band masker, conditioned by a pooled reference embedding; learns fast on a CPU."""
    stft: StftConfig = StftConfig(n_fft=512, window=512, hop=256)
    """The STFT that the model works in; 64 ms windows resolve the harmonics of close voices."""
    feature_dim: Size = 192
    """Features per frame inside the network."""
    lstm_hidden: Size = 128
    """Hidden size of each LSTM direction."""
    num_layers: _Layers = 2
    """Layers, each modulated by the reference embedding."""
    embedding_dim: Size = 64
    """Size of the reference embedding."""
    num_mels: Annotated[int, Field(ge=1, le=512)] = 64
    """Mel bands that the reference embedding is made from."""

    @property
    def num_weights(self) -> int:
        """About how many weights the network has."""
        dim, hidden, embedding = self.feature_dim, self.lstm_hidden, self.embedding_dim
        layer = 8 * hidden * (dim + hidden) + 2 * hidden * dim + 2 * embedding * dim
        return self.num_layers * layer + 2 * self.stft.num_bins * dim + 2 * embedding * (2 * self.num_mels + embedding)

    @model_validator(mode="after")
    def _fits(self) -> "CompactConfig":
        _require_size(self.num_weights)
        return self


class AttentionConfig(Section):
    kind: Literal["attention"]
    """A small full-band masker of attention over time, conditioned by the reference's frames and embedding."""
    stft: StftConfig = StftConfig(n_fft=512, window=512, hop=256)
    """The STFT that the model works in."""
    feature_dim: Size = 192
    """Features per frame inside the network."""
    num_layers: _Layers = 1
    """Pairs of an attention over time and a feed-forward network; one more attention follows."""
    num_heads: Size = 4
    """Attention heads over time; their size, feature_dim over this, is even."""
    num_reference_heads: Size = 2
    """Heads of the attention to the reference's frames; a divisor of feature_dim."""
    hidden_dim: Size = 384
    """Hidden features of each feed-forward network."""
    embedding_dim: Size = 64
    """Size of the reference embedding."""
    num_mels: Annotated[int, Field(ge=1, le=512)] = 64
    """Mel bands that the reference embedding is made from."""
    conv_channels: Annotated[int, Field(ge=0, le=1024, multiple_of=2)] = 0
    """Channels of convolutions over time and frequency in front of all else, which know a pattern wherever it is; they
    look three frames ahead. 0: none."""
    context_frames: Annotated[int, Field(ge=1, le=100_000)] = 80
    """How many frames each attention reaches back, and ahead unless causal. Not more than a training mixture has: then
    longer recordings hold no distance that was never trained."""
    causal: bool = False
    """Look at no frame ahead, so that the model can run on a live signal (`hifitse.models.attention`)."""

    @property
    def num_weights(self) -> int:
        """About how many weights the network has."""
        dim, embedding = self.feature_dim, self.embedding_dim
        layers = (self.num_layers + 1) * (4 * dim**2 + 2 * embedding * dim)
        layers += self.num_layers * (3 * self.hidden_dim * dim + 2 * embedding * dim)
        if channels := self.conv_channels:
            layers += channels * (17 * channels + self.stft.num_bins * dim // 4) + 2 * dim * (dim + embedding)
        return layers + 4 * dim**2 + 2 * self.stft.num_bins * dim + 2 * embedding * (2 * self.num_mels + embedding)

    @model_validator(mode="after")
    def _fits(self) -> "AttentionConfig":
        _require_size(self.num_weights)
        if self.feature_dim % (2 * self.num_heads):
            raise ValueError(f"num_heads {self.num_heads}: feature_dim {self.feature_dim} is no even multiple of it")
        if self.feature_dim % self.num_reference_heads:
            raise ValueError(
                f"num_reference_heads {self.num_reference_heads} must divide feature_dim {self.feature_dim}"
            )
        if self.causal and self.conv_channels:
            raise ValueError(f"conv_channels {self.conv_channels} look ahead: with causal there are none, 0")
        return self


class BandAttentionConfig(Section):
    kind: Literal["band_attention"]
    """A network of attention over bands and over time with a complex mask, conditioned by the reference; for GPUs."""
    stft: StftConfig = StftConfig(n_fft=2048, window=1920, hop=960)
    """The STFT that the model works in."""
    num_bands: Annotated[int, Field(ge=2, le=512)] = 26
    """Overlapping bands, evenly spaced on the mel scale, at least two bins apart."""
    feature_dim: Size = 256
    """Features per band and frame."""
    num_blocks: _Layers = 6
    """Blocks: attention over bands, attention over time and the reference, each with a feed-forward network."""
    num_reference_blocks: Annotated[int, Field(ge=0, le=64)] = 1
    """Blocks of its own that the reference goes through first; they run once for each speaker."""
    num_heads: Size = 4
    """Attention heads; their size, feature_dim over this, is a multiple of 4."""
    hidden_dim: Size = 512
    """Hidden features of each feed-forward network."""
    activation_checkpointing: bool | Literal["auto"] = "auto"
    """Recompute each block in the backward pass: much less memory, about a third more time. auto: if the free memory
    is too small for all that a few scenes keep, see train.micro_batch_size."""

    @property
    def num_weights(self) -> int:
        """About how many weights the network has."""
        dim, blocks = self.feature_dim, self.num_blocks + self.num_reference_blocks
        return blocks * (12 * dim**2 + 6 * dim * self.hidden_dim) + 10 * self.stft.num_bins * dim

    @model_validator(mode="after")
    def _fits(self) -> "BandAttentionConfig":
        _require_size(self.num_weights)
        if 2 * self.num_bands > self.stft.num_bins:
            raise ValueError(
                f"num_bands: {self.num_bands} bands do not fit into {self.stft.num_bins} bins, use at most half"
            )
        if self.feature_dim % (4 * self.num_heads):
            raise ValueError(f"num_heads {self.num_heads}: 4 times it does not divide feature_dim {self.feature_dim}")
        return self


PLUGIN_KIND = "package.module:Class"


class PluginConfig(Section):
    """Base of the settings of a network of somebody else; see examples/own_network.py.

    Its class is a torch module that is made as ``Class(config, sample_rate)`` and has the interface of
    `hifitse.models`; its attribute ``config_class`` is the subclass of this that has its settings.
    """

    kind: Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$", max_length=200)]
    """The class of the network; its module is looked up among installed packages and in the working directory."""

    @model_validator(mode="wrap")
    @classmethod
    def _as_its_class_says(cls, values: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        if cls is PluginConfig and isinstance(values, dict):
            found: Self = plugin_class(str(values.get("kind"))).config_class.model_validate(values)
            return found
        return validate(values)


def plugin_class(kind: str) -> Any:
    """Return the class that ``package.module:Class`` names.

    Raises:
        ValueError: there is no such class, or it is no network with a ``config_class``.
    """
    module, _, name = kind.partition(":")
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        # As with python -m; it stays, for the processes that are started later.
        sys.path.append(str(Path.cwd()))
    if problem := _why_not_imported(module):
        raise ValueError(f"kind: {kind} is not imported: {problem}")
    try:
        found = getattr(import_module(module), name)
    except Exception as error:
        raise ValueError(f"kind: {kind} cannot be imported ({type(error).__name__}: {error})") from error
    settings = getattr(found, "config_class", None)
    if not (isinstance(settings, type) and issubclass(settings, PluginConfig) and settings is not PluginConfig):
        raise ValueError(f"kind: {kind} has no config_class, a subclass of hifitse.PluginConfig with its settings")
    return found


def _why_not_imported(module: str) -> str:
    """Return why a module is not to be imported, or "", without importing anything.

    A model file from somebody else may name any module, and to import one is to run it.
    """
    if module in sys.modules:
        return ""
    places, spec, path = None, None, ""
    for part in module.split("."):
        path = f"{path}.{part}".lstrip(".")
        spec = next((found for finder in sys.meta_path if (found := finder.find_spec(path, places))), None)
        if spec is None:
            return f"there is no module {path}, neither installed nor in the working directory"
        places = spec.submodule_search_locations
    source = Path(spec.origin) if spec and spec.origin else Path()
    if source.suffix == ".py" and "PluginConfig" in source.read_text(errors="replace"):
        return ""
    return f"{module} defines no hifitse.PluginConfig; name the module that does"


def _kind(value: Any) -> Any:
    kind = value.get("kind") if isinstance(value, dict) else getattr(value, "kind", None)
    return PLUGIN_KIND if isinstance(kind, str) and ":" in kind else kind


ModelConfig = Annotated[
    Annotated[GridConfig, Tag("grid")]
    | Annotated[CompactConfig, Tag("compact")]
    | Annotated[AttentionConfig, Tag("attention")]
    | Annotated[BandAttentionConfig, Tag("band_attention")]
    | Annotated[SerializeAsAny[PluginConfig], Tag(PLUGIN_KIND)],
    Discriminator(_kind),
]
