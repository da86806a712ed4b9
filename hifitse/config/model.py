"""The sections of the two networks."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from hifitse.config.bands import Bands, band_problem, generated_bands, hifi_tse_48k
from hifitse.config.section import Count, Section


class StftConfig(Section):
    n_fft: Annotated[int, Field(ge=16, multiple_of=2)]
    """FFT size, in samples."""
    window: Annotated[int, Field(ge=16)]
    """Length of the Hann window, in samples."""
    hop: Annotated[int, Field(ge=4)]
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
    bands: Literal["hifi_tse_48k"] | Count | tuple[tuple[int, int], ...] = "hifi_tse_48k"
    """A named layout, a number of bands to generate, or a list of [first bin, last bin]."""
    feature_dim: Count = 128
    """Features per band and frame."""
    lstm_hidden: Count = 256
    """Hidden size of each LSTM direction."""
    num_blocks: Count = 6
    """Grid blocks: LSTM over bands, LSTM over time, attention over time."""
    num_heads: Count = 4
    """Attention heads; a divisor of feature_dim."""
    reinject_at: tuple[Annotated[int, Field(ge=0)], ...] = (0, 1, 2, 3, 4, 5)
    """Blocks before which the reference is attended to once more."""
    activation_checkpointing: bool = True
    """Recompute each block in the backward pass: much less memory, about a third more time."""

    @property
    def band_layout(self) -> Bands:
        if self.bands == "hifi_tse_48k":
            return hifi_tse_48k()
        if isinstance(self.bands, int):
            return generated_bands(self.stft.num_bins, self.bands)
        return self.bands

    @model_validator(mode="after")
    def _fits_together(self) -> "GridConfig":
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
    feature_dim: Count = 192
    """Features per frame inside the network."""
    lstm_hidden: Count = 128
    """Hidden size of each LSTM direction."""
    num_layers: Count = 2
    """Layers, each modulated by the reference embedding."""
    embedding_dim: Count = 64
    """Size of the reference embedding."""
    num_mels: Count = 64
    """Mel bands that the reference embedding is made from."""


ModelConfig = Annotated[GridConfig | CompactConfig, Field(discriminator="kind")]
