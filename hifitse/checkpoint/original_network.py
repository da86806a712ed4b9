"""What the shapes of the original's weights tell about its network, compared with the configured one. No torch.

The number of attention heads, the STFT and the bins of each band leave no trace in any shape: the configuration says
them. Of the bands, their number and widths do.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from hifitse.config.bands import Bands
from hifitse.config.model import GridConfig, ModelConfig
from hifitse.errors import HifitseError

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Sizes:
    """The network that some weights belong to, as far as their shapes tell."""

    feature_dim: int
    lstm_hidden: int
    num_blocks: int
    reinject_at: tuple[int, ...]
    band_widths: tuple[int, ...]
    """Bins of each band."""


def sizes(shapes: Shapes) -> Sizes | None:
    """Return the sizes of the network that has these weights, or None if it is no network of the original.

    Each size is in several tensors, so that one which is missing is found to be just that.
    """
    feature_dims = _found(shapes, r"encoder\.projections\.(\d+)\.(?:bias|weight)")
    lstm_hidden = _found(shapes, r"gridnet\.blocks\.(\d+)\.(?:freq|time)_lstm\.weight_hh_l0", dimension=1)
    band_widths = _found(shapes, r"encoder\.norms\.(\d+)\.(?:bias|weight)")
    if not (feature_dims and lstm_hidden and band_widths):
        return None
    return Sizes(
        feature_dim=feature_dims[min(feature_dims)],
        lstm_hidden=lstm_hidden[min(lstm_hidden)],
        num_blocks=1 + max(lstm_hidden),
        reinject_at=tuple(sorted(_found(shapes, r"gridnet\.reinject_layers\.(\d+)\.norm\.(?:bias|weight)"))),
        band_widths=tuple(band_widths[band] // 2 for band in sorted(band_widths)),
    )


def _found(shapes: Shapes, pattern: str, dimension: int = 0) -> dict[int, int]:
    """Return the size in one dimension of the tensors of that name, by the number in it."""
    return {
        int(match[1]): shape[dimension]
        for name, shape in shapes.items()
        if (match := re.fullmatch(pattern, name)) and dimension < len(shape)
    }


def differences(config: ModelConfig, found: Sizes) -> list[str]:
    """Return a line for every setting that is not what the weights show: key, both values, and the override."""
    lines = []
    if not isinstance(config, GridConfig):
        lines.append(_line("kind", config.kind, "grid"))
        config = GridConfig(kind="grid")
    for key in ("feature_dim", "lstm_hidden", "num_blocks", "reinject_at"):
        if (configured := getattr(config, key)) != (value := getattr(found, key)):
            lines.append(_line(key, configured, value))
    if _widths(config.band_layout) != found.band_widths:
        lines += _bands_lines(config, found.band_widths)
    return lines


def _line(key: str, configured: object, value: object) -> str:
    text = _text(value)
    override = f"model.{key}={text}"
    return f"model.{key}: {_text(configured)} configured, {text} in the file; --set {_quoted(override)}"


def _bands_lines(config: GridConfig, widths: tuple[int, ...]) -> list[str]:
    configured = f"model.bands: {len(config.band_layout)} bands configured, {len(widths)} in the file"
    for name in ("hifi_tse_48k", len(widths)):
        try:
            layout = config.model_copy(update={"bands": name}).band_layout
        except HifitseError:
            continue
        if _widths(layout) == widths:
            lines = [f"{configured}; --set model.bands={name}"]
            n_fft = 2 * layout[-1][1]
            if config.stft.n_fft != n_fft:
                lines.append(_line("stft.n_fft", config.stft.n_fft, n_fft))
            return lines
    return [f"{configured}; set it to a list of [first bin, last bin], of widths {', '.join(map(str, widths))}"]


def _widths(layout: Bands) -> tuple[int, ...]:
    return tuple(last - first + 1 for first, last in layout)


def _text(value: object) -> str:
    return str(list(value)).replace(" ", "") if isinstance(value, tuple) else str(value)


def _quoted(override: str) -> str:
    # Brackets mean something to a shell.
    return f"'{override}'" if "[" in override else override
