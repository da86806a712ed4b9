"""From a configuration to its model."""

from torch import nn

from hifitse.config.model import (
    AttentionConfig,
    BandAttentionConfig,
    CompactConfig,
    GridConfig,
    ModelConfig,
    PluginConfig,
    plugin_class,
)
from hifitse.models.attention import AttentionModel
from hifitse.models.band_attention import BandAttentionModel
from hifitse.models.compact import CompactModel
from hifitse.models.grid import GridModel


def build_model(config: ModelConfig, sample_rate: int) -> nn.Module:
    """Return the model, on the CPU, with fresh weights from torch's global generator."""
    match config:
        case GridConfig():
            return GridModel(config)
        case CompactConfig():
            return CompactModel(config, sample_rate)
        case AttentionConfig():
            return AttentionModel(config, sample_rate)
        case BandAttentionConfig():
            return BandAttentionModel(config, sample_rate)
        case PluginConfig():
            model = plugin_class(config.kind)(config, sample_rate)
            assert isinstance(model, nn.Module), f"{config.kind} is a torch module"
            return model


def num_parameters(model: nn.Module) -> int:
    """Return the number of weights."""
    return sum(parameter.numel() for parameter in model.parameters())
