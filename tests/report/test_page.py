"""The page of a run: all of it is in one file, a browser shows all of it, and it says what the records say."""

import base64
import io
import json
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
import soundfile as sf

from hifitse.evaluation.result import ValidationResult, read_result, write_result
from hifitse.runs.records import Best, write_record
from hifitse.runs.run import Run
from hifitse.storage import read_sealed
from tests.helpers import SPEECH, Cli, append_rows
from tests.report.browser import CHROMIUM, DRIVER, browser, look

_VOID = {"meta", "link", "img", "br", "hr", "input", "wbr"}


class _Page(HTMLParser):
    """Elements with their attributes; fails where they are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def run(trained: Path, cli: Cli) -> Path:
    """A run with a best, an archived branch and a changed setting."""
    assert cli("select-best", "--run", trained, "--require", "rms_ratio>=0").code == 0
    assert cli("resume", "--run", trained, "--from", 8, "--set", "train.learning_rate=2e-3").code == 0
    return trained


def _write(cli: Cli, *arguments: object) -> _Page:
    outcome = cli("report", *arguments, "--json")
    assert outcome.code == 0, outcome.err
    written = Path(json.loads(outcome.out)["report"])
    assert written.stat().st_size < 10_000_000
    return _Page(written.read_text(encoding="utf-8"))


def test_the_page_needs_nothing_but_itself(cli: Cli, run: Path) -> None:
    page = _write(cli, run)
    for _, attributes in page.elements:
        for name in ("src", "href", "xlink:href", "action", "poster"):
            assert attributes.get(name, "#").startswith(("data:", "#"))
    style = (run / "report.html").read_text().split("<style>")[1].split("</style>")[0]
    assert "url(" not in style and "@import" not in style
    policy = next(each["content"] for each in page.all("meta") if each.get("http-equiv"))
    assert policy.startswith("default-src 'none'")
    referred = [each["href"][1:] for each in page.all("a")]
    assert referred and set(referred) <= {attributes.get("id") for _, attributes in page.elements}


def test_the_commands_of_this_machine_are_nobody_elses_business(cli: Cli, run: Path) -> None:
    config = Run(run).config_path
    config.write_text(config.read_text().replace("on_event: []", "on_event: [notify, secret-token]"))
    assert "secret-token" in config.read_text()
    assert cli("report", run).code == 0
    page = (run / "report.html").read_text()
    assert "secret-token" not in page and "log_every" in page


def test_it_shows_and_says_what_the_records_say(cli: Cli, run: Path) -> None:
    page = _write(cli, run)
    figures = {each["id"] for each in page.all("figure") if "id" in each}
    assert {
        "tp_si_sdri",
        "rms_ratio",
        "ta_energy_db",
        "rejection_rate",
        "loss",
        "grad_norm",
        "learning_rate",
    } <= figures
    assert {"levels", "by_num_interferers", "by_sir_db", "by_reference_seconds", "by_speaker"} <= figures
    chosen = read_result(Run(run), 12)
    assert f"{chosen.metrics['rms_ratio']:.2f}" in page.text
    assert "what followed step 8" in page.text
    assert "train.learning_rate: 0.001 → 0.002" in page.text
    assert "train.cpu_threads 1" in page.text
    assert "total_steps: 12" in page.text


def test_scenes_can_be_heard(cli: Cli, run: Path) -> None:
    page = _write(cli, run)
    players, images = page.all("audio"), page.all("img")
    assert len(players) == len(images) >= 4 * 3
    for player in players:
        kind, data = player["src"].split(";base64,")
        assert kind == "data:audio/mpeg"
        samples, rate = sf.read(io.BytesIO(base64.b64decode(data)))
        assert (len(samples) / rate, rate) == (pytest.approx(0.75, abs=0.1), 8000)
    assert all(image["alt"] for image in images)


def test_without_the_corpora_it_says_so(cli: Cli, run: Path, tmp_path: Path) -> None:
    config = run / "config.yaml"
    config.write_text(config.read_text().replace(str(SPEECH), str(tmp_path / "gone")))
    page = _write(cli, run)
    assert not page.all("audio")
    assert "no audio" in page.text and "gone" in page.text
    assert page.all("svg")


def test_runs_are_overlaid_and_their_settings_compared(cli: Cli, run: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(run, tmp_path / "other"))
    config = other / "config.yaml"
    config.write_text(config.read_text().replace("clip_norm: ", "clip_norm: 1"))
    page = _write(cli, run, other, "-o", tmp_path / "both.html", "--figures", tmp_path / "figures")
    assert "train.clip_norm" in page.text
    assert "cannot be told apart" in page.text or "no interval" in page.text
    assert {"estimate of trained, Best", "estimate of other, Best"} <= {
        each["aria-label"] for each in page.all("audio")
    }
    assert {path.suffix for path in (tmp_path / "figures").iterdir()} == {".svg", ".png"}


def test_a_name_is_text_and_figures_may_be_no_numbers(cli: Cli, run: Path, tmp_path: Path) -> None:
    odd = run.rename(tmp_path / "<b>$x_1$&")
    result = read_result(Run(odd), 12)
    broken = {"si_sdr_db": float("nan"), "si_sdri_db": float("nan"), "presence_score_db": float("inf")}
    samples = [{**sample.to_json(), **(broken if sample.present else {})} for sample in result.samples]
    metrics = result.metrics | {"tp_si_sdri": float("nan")}
    write_result(Run(odd), result.model_validate(result.to_json() | {"samples": samples, "metrics": metrics}))
    append_rows(odd / "events.jsonl", {"kind": "sick", "step": 8, "message": "<script>alert(1)</script>"})
    page = _write(cli, odd)
    assert "<b>$x_1$&" in page.text
    assert len(page.all("script")) == 1


def test_a_run_that_was_never_validated_has_a_page(cli: Cli, run: Path) -> None:
    shutil.rmtree(run / "validation")
    shutil.rmtree(run / "abandoned")
    page = _write(cli, run)
    assert "nothing was validated yet" in page.text
    assert not page.all("audio") and page.all("svg")


@pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs the Debian packages chromium and chromium-driver")
def test_a_browser_shows_all_of_it(cli: Cli, run: Path) -> None:
    _write(cli, run)
    with browser() as driver:
        for width in (390, 1440):
            seen = {scheme: look(driver, run / "report.html", width, scheme) for scheme in ("light", "dark")}
            for state in seen.values():
                assert state["log"] == []
                assert state["width"] == width
                assert state["images"] and all(state["images"])
                assert state["seconds"] and all(0.5 < seconds < 1 for seconds in state["seconds"])
            assert seen["light"]["background"] != seen["dark"]["background"]
            assert seen["light"]["line"] != seen["dark"]["line"]


def test_an_average_of_weights_that_was_chosen_is_shown_and_heard(cli: Cli, run: Path) -> None:
    assert cli("select-best", "--run", run, "--require", "rms_ratio>=0", "--average", 2).code == 0
    (average,) = (run / "averages").glob("*.safetensors")
    best = Best(step=int(average.stem[:8]), metric="tp_si_sdr", value=0.0, average=average.stem)
    write_record(run / "best.json", best)
    page = _write(cli, run)
    assert "an average of weights up to there" in page.text
    figures = ValidationResult.model_validate(read_sealed(average.with_suffix(".json"))).metrics
    assert f"{figures['rms_ratio']:.2f}" in page.text
    assert page.all("audio")
