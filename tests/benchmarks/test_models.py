"""The comparison of networks: its schedule, its order of scenes, its intervals; and a cell from end to end."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks import models
from hifitse.config.files import load_config
from tests.helpers import MUON, NETWORKS, TINY


def test_the_schedule_is_stretched_and_a_past_phase_stays_past() -> None:
    base = load_config(TINY)
    config = models.planned(base, base, 120, 0)
    assert (config.train.total_steps, config.train.warmup_steps, config.curriculum[0].until) == (120, 6, 40)
    later = models.planned(config, base, 300, 50)
    assert (later.train.total_steps, later.curriculum[0].until) == (300, 40), "the phase had ended"
    assert models.planned(config, base, 300, 30).curriculum[0].until == 100


def test_every_round_has_every_scene_once_in_an_order_of_the_seed() -> None:
    orders = [[models._Order(seed, 10)[index] for index in range(20)] for seed in (0, 0, 1)]
    assert sorted(orders[0][:10]) == sorted(orders[0][10:]) == list(range(10))
    assert orders[0] == orders[1] != orders[2] and orders[0][:10] != orders[0][10:]


def test_intervals_are_as_wide_as_speakers_differ_not_scenes() -> None:
    rng = np.random.default_rng(0)
    speakers = {str(i): list(rng.normal(center, 0.1, 50)) for i, center in enumerate(rng.normal(5, 2, 20))}
    mean, low, high = models.interval(speakers)
    assert low < mean < high and 1.0 < high - low < 2.6, "about 4 x 2 / sqrt(20)"
    assert models.interval({name: [value + 1 for value in values] for name, values in speakers.items()})[
        0
    ] == pytest.approx(mean + 1)


def test_cells_are_trained_once_and_tabled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    variants = [("--variant", name, NETWORKS[name], MUON) for name in ("attention", "compact")]
    arguments = ["--base", TINY, "--out", tmp_path, "--budget", 1.5, "--seeds", 0, "--models", "compact", "attention"]
    arguments += ["--scenes", 20, "--validation-scenes", 10, "--held-out", 0.5, *variants[0], *variants[1]]
    arguments += ["--set", "mixing.num_interferers=[1, 1]"]
    monkeypatch.setattr(sys, "argv", ["models.py", *map(str, arguments)])
    monkeypatch.setattr(models, "VARIANTS", dict(models.VARIANTS))
    # In this process: another one would take longer to begin than to render these.
    monkeypatch.setattr(models.multiprocessing, "get_context", lambda _: SimpleNamespace(Pool=lambda _: InProcess()))
    models.main()
    cells = sorted(tmp_path.glob("cells/*.json"))
    assert [path.name for path in cells] == ["attention-1.5s-seed0.json", "compact-1.5s-seed0.json"]
    before = [path.stat().st_mtime_ns for path in cells]
    capsys.readouterr()
    models.main()
    assert [path.stat().st_mtime_ns for path in cells] == before
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- table -->\nold\n<!-- end of table -->\nb\n")
    models.put_into(page, ["new", "lines"])
    assert page.read_text() == "a\n<!-- table -->\nnew\nlines\n<!-- end of table -->\nb\n"
    lines = capsys.readouterr().out.strip().splitlines()
    assert lines == (tmp_path / "table.md").read_text().splitlines()
    header, _, first, second = lines
    assert "SI-SDRi" in header and "| compact |" in first and "| attention |" in second
    assert first.count("|") == second.count("|") == header.count("|")


class InProcess:
    """As a pool of processes is used."""

    imap_unordered = staticmethod(map)

    def __enter__(self) -> "InProcess":
        return self

    def __exit__(self, *_: object) -> None:
        pass
