"""A small configuration to change, and what one hears about it."""

from pathlib import Path
from typing import Any

import pytest

from hifitse.config.files import load_config, to_data
from hifitse.config.schema import Config
from hifitse.errors import ConfigError

BASIC = """\
seed: 1
data:
  speech: corpora/vctk
curriculum:
  - {name: tp, until: 1000, absent_ratio: 0}
  - name: tp_ta
    absent_ratio: 0.2
model:
  kind: grid
loss:
  ta_weight: 0.2
train:
  learning_rate: 1e-3
"""


def load(*overrides: str) -> Config:
    return load_config(Path("configs/basic.yaml"), overrides)


def complaints(text: str, *overrides: str) -> list[str]:
    """Return the lines that one hears about ``text`` in configs/basic.yaml, without the file name."""
    path = Path("configs/basic.yaml")
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides)
    return [line.removeprefix(f"{path}:") for line in str(caught.value).splitlines()]


def complaint(text: str, *overrides: str) -> str:
    (line,) = complaints(text, *overrides)
    return line


def values(config: Config, key: str) -> Any:
    value: Any = to_data(config)
    for part in key.split("."):
        value = value[int(part) if part.isdecimal() else part]
    return value
