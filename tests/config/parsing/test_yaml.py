"""YAML in and out: what scalars mean, and what is said of a file that is no YAML."""

from pathlib import Path

import pytest

from hifitse.config.parsing.yaml import read_yaml, write_yaml
from hifitse.errors import ConfigError
from tests.config.basic import complaint, load


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1e-3", 0.001),
        ("1E3", 1000.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("-0.1e+2", -10.0),
        ("010", 10),
        ("0x10", 16),
        ("0o10", 8),
        ("500_000", 500_000),
        ("+3", 3),
        ("1:30", "1:30"),
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("2024-01-01", "2024-01-01"),
        ("~", None),
        ("", None),
        ("e3", "e3"),
        ("1e", "1e"),
        ("'1'", "1"),
        ("[1, 1e1, x]", [1, 10.0, "x"]),
    ],
)
def test_scalars(text: str, expected: object) -> None:
    value = read_yaml(f"a: {text}", "here")[0]["a"]
    assert value == expected
    assert type(value) is type(expected)


ALIAS_BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [{f'*a{i - 1}, ' * 10}]\n" for i in range(1, 40))
"""10^39 values in 3 kB."""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data: [a\nloss: 1", "2: not valid YAML: expected ',' or ']'"),
        ("a: 1\n\tb: 2", "2: not valid YAML: found character '\\t'"),
        ("seed: 1\n---\nseed: 2", "2: not valid YAML: but found another document"),
        (
            "seed: !!python/object:os.system 1",
            "1: not valid YAML: the tag tag:yaml.org,2002:python/object:os.system is",
        ),
        ("seed: !!int many", "1: not valid YAML: the tag tag:yaml.org,2002:int is not used here"),
        ("loss: !!bool abc", "1: not valid YAML: the tag tag:yaml.org,2002:bool is not used here"),
        ("seed: 1\nloss:\n  ta_weight: 0.1\n  ta_weight: 0.2", "4: loss.ta_weight: given twice, first in line 3"),
        ("seed: 1\nseed: 1", "2: seed: given twice, first in line 1"),
        ("loss:\n  1: x", "2: loss: a key must be text"),
        ("? [a, b]\n: 1", "1: here: a key must be text"),
        ("loss: &a\n  absent: *a", "1: loss.absent: refers to itself"),
        ("seed: " + "[" * 5000, "1: not valid YAML: nested too deeply"),
        ("seed: 1\nloss: " + "[1," * 100, "2: not valid YAML: nested too deeply"),
        ("seed: 0x" + "f" * 5000, "1: seed: a number of 5002 digits"),
        ("seed: 1\nseeds: 1" + "0" * 5000 + ".0", "2: seeds: a number of 5003 digits"),
        ('seed: "\\0"', "1: seed: holds a NUL or half a character"),
        ('seed: "\\ud800"', "1: seed: holds a NUL or half a character"),
        ("seed: 1 #" + "x" * 2**17, " cannot read the configuration: larger than 0.125 MiB"),
        (ALIAS_BOMB, "1: not valid YAML: more than 10000 values"),
        ("- 1\n- 2", " expected sections such as 'data:' and 'model:', got list"),
        ("text", " expected sections such as 'data:' and 'model:', got str"),
    ],
)
def test_broken_yaml(folder: Path, text: str, message: str) -> None:
    assert complaint(text).startswith(message)


def test_bytes_that_are_no_text(folder: Path) -> None:
    Path("configs/basic.yaml").write_bytes(b"seed: \xff\xfe")
    with pytest.raises(ConfigError, match="configs/basic.yaml: not valid YAML"):
        load()


@pytest.mark.parametrize(
    "text", ["\x85", "a\u2028b", "\ufeff", "\n", "a\r\nb", "1e3", "null", "no", "0o7", "- a", "ä: #"]
)
def test_awkward_text_reads_back_equal(text: str) -> None:
    assert read_yaml(write_yaml({"a": [text], "b": text}).encode(), "here")[0] == {"a": [text], "b": text}
