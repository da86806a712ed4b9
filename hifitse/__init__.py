"""hifitse trains target speaker extraction models and keeps the training honest.

    import hifitse

    extractor = hifitse.load("runs/demo")                        # or an exported model.safetensors
    voice = extractor(mixture, reference, sample_rate=16000)     # NumPy or torch, (L,) or (B, L)

    run = hifitse.open_run("runs/demo")
    run.metrics, run.validations                                 # flat rows: pandas.DataFrame(run.metrics)

Importing it is cheap: what takes torch is loaded when it is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hifitse.api import RunView, load, open_run, train
    from hifitse.config.files import load_config
    from hifitse.config.model import PluginConfig
    from hifitse.config.schema import Config
    from hifitse.errors import HifitseError
    from hifitse.inference import Extractor
    from hifitse.losses import Objective, si_sdr

    __version__: str

__all__ = [
    "Config",
    "Extractor",
    "HifitseError",
    "Objective",
    "PluginConfig",
    "RunView",
    "load",
    "load_config",
    "open_run",
    "si_sdr",
    "train",
]

_PLACES = {
    "Config": "config.schema",
    "Extractor": "inference",
    "HifitseError": "errors",
    "Objective": "losses",
    "PluginConfig": "config.model",
    "RunView": "api",
    "load": "api",
    "load_config": "config.files",
    "open_run": "api",
    "si_sdr": "losses",
    "train": "api",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("hifitse")
    if name in _PLACES:
        return getattr(import_module(f"hifitse.{_PLACES[name]}"), name)
    raise AttributeError(f"module 'hifitse' has no attribute '{name}'")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
