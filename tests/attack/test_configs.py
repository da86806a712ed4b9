"""Hundreds of configurations that nobody would write: each is used as it is, or refused with the key in one line."""

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from hifitse.config.parsing.annotations import setting_keys
from hifitse.config.schema import Config
from tests.attack.properties import ESCAPES, complaints
from tests.attack.target import Target
from tests.helpers import TINY

KEYS = sorted({key for key in setting_keys(Config) if key.split(".")[0] not in ("curriculum", "health")})
KEYS += ["curriculum.tp.until", "curriculum.tp_ta.absent_ratio", "curriculum.0.sir_db", "health.guards.level_low.below"]
BOMB = "[&a [x,x,x,x], " + ", ".join(f"&{chr(98 + i)} [{','.join([f'*{chr(97 + i)}'] * 9)}]" for i in range(20)) + "]"
NUMBERS = ["0", "-1", "1", "2", "0.5", "1e-300", "1e300", "1e999", "-5000", "9" * 25, "9" * 5000, "0x" + "f" * 5000]
NUMBERS += [".nan", ".inf", "-.inf", "nan", "0o17", "1_000", "1e-3", "9223372036854775808", "99999999", "1.5", "+3"]
TEXTS = ["", "null", "~", "true", "[]", "{}", "[1, 2]", "[2, 1]", "{kind: hinge}", "x" * 5000, "[/bold]", ":100:", "é"]
TEXTS += ["*a", "&a x", "!!bool abc", "!!python/name:os.system", "'\\0'", '"\\0"', '"\\ud800"', "a: b", "- a", "#", "%"]
TEXTS += [
    BOMB,
    "[" * 500,
    "[[1, 2], [3]]",
    "[1e300, 1e301]",
    "{name: x}",
    "[{name: x}]",
    "{path: /nowhere, weight: 1e999}",
]
TEXTS += ["/dev/zero", "/dev/stdin", "${HOME}", "${NONE}", "~nobody/x", *ESCAPES, "\u202e", "\x85", "a\tb"]


def settings(rng: random.Random) -> Iterator[tuple[str, str]]:
    """Yield a few keys with values; some keys do not exist."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        key = rng.choice(KEYS)
        if rng.random() < 0.1:
            key = rng.choice((key + ".x", key[:-1], "x", "", ".", key.split(".")[0], key.replace(".", "..")))
        yield key, rng.choice(NUMBERS if rng.random() < 0.5 else TEXTS)


def as_file(given: list[tuple[str, str]]) -> str:
    """Return the tiny configuration with these settings in it, as text that may be no YAML at all."""
    data: dict[str, Any] = yaml.safe_load(TINY.read_text())
    lines = []
    for number, (key, value) in enumerate(given):
        section: Any = data
        *above, last = key.split(".")
        for part in above:
            below = section.get(part) if isinstance(section, dict) else None
            if not isinstance(below, dict):
                break
            section = below
        section[last] = f"VALUE{number}"
        lines.append((f"VALUE{number}", value))
    text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
    for mark, value in lines:
        text = text.replace(mark, value)
    return text


@pytest.mark.parametrize(
    "seeds",
    [pytest.param(range(40), id="some"), pytest.param(range(40, 560), id="all", marks=pytest.mark.attack)],
)
def test_a_configuration_is_used_or_refused_by_name(hifitse: Target, tmp_path: Path, seeds: range) -> None:
    failures = []
    for seed in seeds:
        rng = random.Random(seed)
        given, colors = list(settings(rng)), rng.random() < 0.2
        command: list[object] = ["config", "show", "--config"]
        if rng.random() < 0.5:
            (tmp_path / "odd.yaml").write_text(as_file(given))
            command += ["odd.yaml"]
            named = ["odd.yaml", *(key for key, _ in given)]
        else:
            command += [TINY, *(part for key, value in given for part in ("--set", f"{key}={value}"))]
            named = ["--set"]
        if rng.random() < 0.3:
            command += ["--json"]
        result = hifitse.run(*command, cwd=tmp_path, colors=colors)
        failures += [f"seed {seed}: {given}: {found}" for found in complaints(result, named, colors)]
        if result.code == 0 and seed % 8 == 0:
            # What is accepted can be used: extremes, too, end well or in a line.
            command = ["smoke", "--steps", 1, *(part for part in command[2:] if part != "--json")]
            result = hifitse.run(*command, cwd=tmp_path, colors=colors)
            failures += [f"seed {seed}: smoke: {given}: {found}" for found in complaints(result, (), colors)]
    assert not failures, "\n".join(failures)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("/dev/zero", "not a regular file"),
        ("pipe.yaml", "not a regular file"),
        (".", "a folder"),
        ("loop.yaml", "no such configuration"),
    ],
)
def test_what_is_no_file_is_no_configuration(hifitse: Target, tmp_path: Path, name: str, said: str) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    result = hifitse.run("config", "show", "--config", name, cwd=tmp_path)
    assert not complaints(result, [name])
    assert result.code == 2 and said in result.err
