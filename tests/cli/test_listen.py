"""The page of `hifitse listen`, as a process: by a client of its interface, and by a browser."""

import io
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest
import soundfile as sf
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from selenium import webdriver
from selenium.webdriver.common.by import By

from tests.helpers import SPEECH, Cli
from tests.processes import wait_for
from tests.report.browser import CHROMIUM, DRIVER, browser


@dataclass(frozen=True)
class Answer:
    """What the page gives for a mixture and a reference."""

    voice: bytes
    words: str


class Page(Protocol):
    def models(self) -> list[str]:
        """Open the page, and return what there is to choose from."""

    def problems(self) -> list[str]:
        """Return what the page complains of, and what it has loaded from elsewhere."""

    def extract(self, model: str | None, mixture: Path, reference: Path) -> Answer | str:
        """Return the voice, or the message of an error; None: the model that is chosen to begin with."""


@contextmanager
def listening(*arguments: object) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Yield the address and the process of a command, which does not outlive the test."""
    command = [sys.executable, "-m", "hifitse", "listen", *map(str, arguments), "--port", "0"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdout=-1, stderr=-1, text=True, env=environment) as process:
        try:
            assert process.stdout
            address = process.stdout.readline().strip()
            assert re.fullmatch(r"http://127\.0\.0\.1:[0-9]+", address), process.communicate()
            yield address, process
        finally:
            process.kill()


class ByClient:
    """The page's functions without the page."""

    def __init__(self, address: str, folder: Path) -> None:
        self.client = Client(address, verbose=False, download_files=folder)

    def models(self) -> list[str]:
        self.update = self.client.predict(api_name="/models")
        return [label for label, _ in self.update["choices"]]

    def problems(self) -> list[str]:
        return []

    def extract(self, model: str | None, mixture: Path, reference: Path) -> Answer | str:
        source = dict(self.update["choices"])[model] if model else self.update["value"]
        recordings = handle_file(mixture), handle_file(reference)
        try:
            voice, words, _ = self.client.predict(source, *recordings, api_name="/extract")
        except AppError as error:
            return str(error)
        return Answer(Path(voice).read_bytes(), words)


class InBrowser:
    """The page as somebody uses it."""

    def __init__(self, address: str, driver: webdriver.Chrome) -> None:
        self.address, self.driver = address, driver

    def models(self) -> list[str]:
        self.driver.get(self.address)
        assert wait_for(lambda: self.value("#model input"))
        self.click("#model input")
        return [option.text.lstrip("✓ \n") for option in self.find("#model [role=option]")]

    def extract(self, model: str | None, mixture: Path, reference: Path) -> Answer | str:
        self.models()
        options = {option.text.lstrip("✓ \n"): option for option in self.find("#model [role=option]")}
        options[model or self.value("#model input")].click()
        for name, file in (("mixture", mixture), ("reference", reference)):
            self.find(f"#{name} input[type=file]")[0].send_keys(str(file))
            assert wait_for(lambda name=name: self.find(f"#{name} [data-testid=download-link]"))
        self.click("#extract")
        download, error = "#voice [data-testid=download-link]", "[data-testid=toast-body]"
        assert wait_for(lambda: self.find(download) or self.text(error))
        if said := self.text(error):
            return said.splitlines()[-1]
        link = str(self.find(download)[0].get_attribute("href"))
        assert wait_for(lambda: self.text("#words") and self.find("#picture img"))
        with urllib.request.urlopen(link) as answer:
            return Answer(answer.read(), self.text("#words"))

    def problems(self) -> list[str]:
        script = "return performance.getEntriesByType('resource').map((entry) => entry.name)"
        loaded = self.driver.execute_script(script)
        assert loaded
        complaints = [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]
        return complaints + [name for name in loaded if not name.startswith((self.address, "blob:", "data:"))]

    def find(self, selector: str) -> list[webdriver.remote.webelement.WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        found = self.find(selector)
        return found[0].text if found else ""

    def value(self, selector: str) -> str:
        found = self.find(selector)
        return str(found[0].get_attribute("value")) if found else ""

    def click(self, selector: str) -> None:
        self.find(selector)[0].click()
        time.sleep(0.1)


def recordings(folder: Path) -> tuple[Path, Path]:
    """Write a mixture of two voices, of two channels at 22.05 kHz, and a reference."""
    one, other = (sf.read(file)[0][:20000] for file in sorted(SPEECH.glob("*/*.flac"))[:80:40])
    mixture, reference = folder / "mixture.wav", folder / "reference.wav"
    sf.write(mixture, np.stack([one + other, one - other], axis=1), 22050, subtype="PCM_16")
    sf.write(reference, one, 16000)
    return mixture, reference


def test_the_page_gives_what_extract_writes_for_each_checkpoint(cli: Cli, trained: Path, tmp_path: Path) -> None:
    mixture, reference = recordings(tmp_path)
    silent = tmp_path / "silent.wav"
    sf.write(silent, np.zeros(16000), 16000)
    assert cli("select-best", "--run", trained).code == 0

    def written(checkpoint: str) -> np.ndarray:
        file = tmp_path / "voice.wav"
        assert cli("extract", mixture, reference, "-o", file, "--run", trained, "--from", checkpoint).code == 0
        return np.asarray(sf.read(file)[0])

    def heard(answer: Answer | str) -> np.ndarray:
        assert isinstance(answer, Answer), answer
        assert re.search(r"seems present.* the output is .* dB", answer.words)
        samples, rate = sf.read(io.BytesIO(answer.voice))
        assert rate == 22050
        return np.asarray(samples)

    of_best, of_2 = written("best"), written("2")
    assert np.abs(of_best - of_2).max() > 1e-3
    with ExitStack() as stack:
        address, process = stack.enter_context(listening(trained))
        pages: list[Page] = [ByClient(address, tmp_path)]
        if CHROMIUM and DRIVER:
            pages.append(InBrowser(address, stack.enter_context(browser())))
        for page in pages:
            labels = page.models()
            assert [label.split(" · ")[0] for label in labels[:-1]] == [f"step {step}" for step in (12, 10, 8, 6, 4, 2)]
            assert "hifitse" in labels[-1] and labels[0].endswith("last") and labels[1] == "step 10"
            (best,) = (label for label in labels if "best" in label)
            assert re.match(r"step \d+ · tp_si_sdr -?\d+\.\d\d dB · best", best)
            np.testing.assert_allclose(heard(page.extract(None, mixture, reference)), of_best, atol=1 / 32768)
            np.testing.assert_allclose(heard(page.extract("step 2", mixture, reference)), of_2, atol=1 / 32768)
            message = page.extract("step 2", mixture, silent)
            assert message == "silent.wav: is digital silence; give a recording of a voice"
        assert cli("resume", "--run", trained, "--set", "train.total_steps=14").code == 0
        for page in pages:
            assert page.models()[0].startswith("step 14"), "opened again, it knows what was trained meanwhile"
            assert page.problems() == []
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
        assert process.returncode == 130 and out == ""
        assert err.splitlines()[-1] == "interrupted" and "Traceback" not in err


def test_without_a_run_there_is_the_bundled_model_and_an_end_comes_amid_an_extraction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    mixture, reference = recordings(tmp_path)
    sf.write(mixture, np.tile(sf.read(mixture)[0], (600, 1)), 22050)
    with listening() as (address, process):
        page = ByClient(address, tmp_path)
        assert page.models() == ["the model that comes with hifitse"]
        page.client.submit("bundled", handle_file(mixture), handle_file(reference), api_name="/extract")
        assert wait_for(lambda: list(tmp_path.glob("hifitse_listen_*/*/.voice*/channel0.wav")))
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 143 and "Traceback" not in err
    assert list(tmp_path.glob("hifitse_listen_*")) == []


def test_what_cannot_be_is_told_in_a_line(cli: Cli, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        outcome = cli("listen", trained, "--port", port)
        assert outcome.code == 2 and f"--port {port}: Address already in use" in outcome.err
    outcome = cli("listen", trained, "--from", "7", "--port", 0)
    assert outcome.code == 2 and "no checkpoint at step 7; nearest: 2, 4, 6, 8, 10" in outcome.err
    assert cli("listen", trained.parent / "nothing").code == 2
    monkeypatch.setattr("hifitse.commands.listen.find_spec", lambda name: None)
    outcome = cli("listen", trained)
    assert (outcome.code, outcome.err) == (2, "error: gradio is not installed; pip install 'hifitse[demo]'\n")
