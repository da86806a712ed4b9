"""Every command line in the README and the docs is executed as pasted, and the Python of the README, too.

Each block gets a folder as it is after `make demo`: configs/, runs/demo, and what else the pages mention (one's own
configuration and recordings, a checkpoint of the original script and a run of it). Names and steps are those of the
pages, contents are small. Lines for make are looked up in the Makefile.
"""

import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml

from hifitse.checkpoint.export import export_model
from hifitse.checkpoint.file import load_checkpoint, save_checkpoint
from hifitse.config.files import load_config
from hifitse.config.schema import Config
from hifitse.experiment import Experiment
from hifitse.runs.run import Run
from hifitse.training.start import prepare_new
from hifitse.training.state import header, new_state, to_tensors
from tests.helpers import DATA, SPEECH, TINY, Cli

ROOT = Path(__file__).parents[1]
ORIGINAL = DATA / "original"
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")])


def blocks(language: str) -> list[tuple[str, str]]:
    """Return (page and number, text) of every block of code in the pages."""
    found = {page: re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.M | re.S) for page in PAGES}
    return [(f"{page.name}-{number}", text) for page, texts in found.items() for number, text in enumerate(texts, 1)]


@pytest.fixture(scope="module")
def after_the_demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs")
    tiny = yaml.safe_load(TINY.read_text())
    demo = {**tiny, "curriculum": [{**tiny["curriculum"][0], "until": 1190}, tiny["curriculum"][1]]}
    demo["train"] = {**tiny["train"], "total_steps": 1204, "checkpoint_every": 100, "validate_every": 602}
    original = yaml.safe_load((ORIGINAL / "tiny.yaml").read_text())
    original["train"] |= {"total_steps": 200_002, "batch_size": 1, "micro_batch_size": 1}
    original["validation"] = {"num_scenes": 4, "absent_ratio": 0.25, "num_train_scenes": 4}
    original["health"] = tiny["health"]
    for name, content in {"my": tiny, "configs/demo": demo, "configs/hifi_tse": original}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content))
    shutil.copy(ORIGINAL / "tiny_checkpoint_0200000.pt", folder / "checkpoint_0200000.pt")
    one, other = (soundfile.read(file)[0][:30000] for file in sorted(SPEECH.glob("*/*.flac"))[:80:40])
    soundfile.write(folder / "meeting.wav", one + other, 16000)
    (folder / "space.yaml").write_text(
        re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/sweeps.md").read_text(), re.S)[0].replace("4000", "12")
    )
    (folder / "pairs.csv").write_text("mixture,reference,target\nmeeting.wav,ada.wav,ada.wav\n")
    for name in ("ada", "ada2"):
        soundfile.write(folder / f"{name}.wav", one, 16000)
    (folder / "meetings").mkdir()
    shutil.copy(folder / "meeting.wav", folder / "meetings")
    (folder / "todo.csv").write_text("mixture,reference,output\nmeeting.wav,ada.wav,ada.wav\n")
    begin_at(1200, load_config(folder / "configs/demo.yaml"), Run(folder / "runs/demo"))
    for line in (
        "resume --run demo",
        "select-best --run demo",
        "import checkpoint_0200000.pt",
        "resume --run hifi_tse",
    ):
        subprocess.run([sys.executable, "-m", "hifitse", *line.split()], cwd=folder, check=True, capture_output=True)
    return folder


def begin_at(step: int, config: Config, run: Run) -> None:
    """Give a run a checkpoint of fresh weights, as if so many steps had been done."""
    experiment = Experiment.build(config, torch.device("cpu"))
    state = new_state(config, experiment.device)
    state.step = step
    prepare_new(run, config)
    save_checkpoint(run.checkpoint_path(step), header(state, experiment), to_tensors(state))


@pytest.fixture
def shell(after_the_demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli) -> Callable[[str], None]:
    """Run a line in a copy of that folder; the bundled demo and model are small ones, too."""
    folder = shutil.copytree(after_the_demo, tmp_path / "folder", symlinks=True)
    shutil.copytree(folder / "configs", tmp_path / "bundled" / "configs")
    shutil.copy(folder / "my.yaml", tmp_path / "bundled" / "configs" / "demo.yaml")
    checkpoint = load_checkpoint(Run(folder / "runs/demo").checkpoint_path(1200))
    export_model(checkpoint, tmp_path / "bundled" / "model" / "model.safetensors", half=True)
    monkeypatch.chdir(folder)
    for place in ("hifitse.config.files.BUNDLED", "hifitse.commands.init.BUNDLED"):
        monkeypatch.setattr(place, tmp_path / "bundled")

    def run(line: str) -> None:
        line = line.replace("--trials 40", "--trials 1")
        words = shlex.split(line, comments=True)
        if words[:2] == ["hifitse", "listen"]:
            return listens_until_it_is_interrupted(words[1:])
        if words[:1] == ["hifitse"] and not {">", "|", "&&"} & set(words):
            # In this process: starting torch for each line would take minutes.
            outcome = cli(*words[1:])
            assert outcome.code == 0, f"{line}\n{outcome.out}\n{outcome.err}"
            return
        path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
        done = subprocess.run(["bash", "-c", line], env={"PATH": path}, capture_output=True, text=True)
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"

    return run


def listens_until_it_is_interrupted(words: list[str]) -> None:
    command = [sys.executable, "-m", "hifitse", *words, "--port", "0"]
    with subprocess.Popen(command, stdout=-1, stderr=-1, text=True) as process:
        assert process.stdout and process.stdout.readline().startswith("http://127.0.0.1:")
        process.send_signal(signal.SIGINT)
        process.communicate()
    assert process.returncode == 130


@pytest.mark.parametrize("block", [pytest.param(text, id=place) for place, text in blocks("sh")])
def test_command_lines_work_as_pasted(shell: Callable[[str], None], block: str) -> None:
    for line in block.splitlines():
        if line.startswith("make "):
            assert re.search(rf"^{line.split()[1]}:", (ROOT / "Makefile").read_text(), re.M), line
        else:
            shell(line)


@pytest.mark.parametrize("block", [pytest.param(text, id=place) for place, text in blocks("python")])
def test_python_works_as_pasted(
    after_the_demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: str
) -> None:
    monkeypatch.chdir(shutil.copytree(after_the_demo, tmp_path / "folder", symlinks=True))
    small = ("curriculum.tp.until=2", "train.warmup_steps=1", "data.num_workers=0", "train.batch_size=2")
    small = (*small, "train.micro_batch_size=2", "validation.num_scenes=5")
    monkeypatch.setattr("hifitse.config.files.load_config", lambda path, given=(): load_config(path, [*given, *small]))
    mixture, reference = (np.random.default_rng(i).standard_normal(16000).astype(np.float32) for i in range(2))
    block = block.replace("stop_at=100", "stop_at=3")
    exec(block, {"mixture": mixture, "reference": reference})


def test_links_between_the_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
            assert "://" in target or (page.parent / target).exists(), f"{page.name}: {target}"
