"""hifitse extract: one mixture, a folder of them or a list; all is checked before the work, and each is reported."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from hifitse.checkpoint.export import export_model
from hifitse.checkpoint.file import load_checkpoint
from hifitse.extraction import files
from hifitse.runs.run import Run
from tests.helpers import SPEECH, Cli, Outcome

VOICES = sorted(SPEECH.glob("*/*.flac"))[:80:20]
Extract = Callable[..., Outcome]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a folder of mixtures, and references."""
    folder = tmp_path / "here"
    (folder / "meetings" / "archive").mkdir(parents=True)
    for name, voice in zip(("a.flac", "b.flac", "archive/c.flac"), VOICES, strict=False):
        shutil.copy(voice, folder / "meetings" / name)
    (folder / "meetings" / "notes.txt").write_text("no sound")
    shutil.copy(VOICES[-1], folder / "ada.flac")
    shutil.copy(VOICES[-2], folder / "ada2.flac")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def extract(cli: Cli, trained: Path, here: Path, tmp_path: Path) -> Extract:
    model = tmp_path / "model.safetensors"
    export_model(load_checkpoint(Run(trained).checkpoint_path(12)), model)
    return lambda *arguments: cli("extract", "--model", model, *arguments)


def sound(path: str) -> np.ndarray:
    return np.asarray(soundfile.read(path)[0])


def test_a_folder_gives_a_folder_each_as_on_its_own(extract: Extract, here: Path) -> None:
    outcome = extract("meetings", "ada.flac", "-o", "voices", "--json")
    assert outcome.code == 0, outcome.err
    results = json.loads(outcome.out)["files"]
    assert [result["output"] for result in results] == ["voices/a.wav", "voices/b.wav"]
    assert sorted(path.name for path in (here / "voices").iterdir()) == ["a.wav", "b.wav"]
    alone = json.loads(extract("meetings/b.flac", "ada.flac", "-o", "alone.wav", "--json").out)
    assert (here / "voices/b.wav").read_bytes() == (here / "alone.wav").read_bytes()
    assert alone["presence_db"] == results[1]["presence_db"]
    lines = extract("meetings", "ada.flac", "-o", "voices").out.splitlines()
    assert len(lines) == 2 and all("presence" in line and "dB" in line for line in lines)


def test_a_list_names_mixture_references_and_output(extract: Extract, here: Path) -> None:
    (here / "lists").mkdir()
    rows = ("../meetings/a.flac,../ada.flac,one/a.wav,", "../meetings/a.flac,../ada.flac,two.wav,../ada2.flac")
    (here / "lists/todo.csv").write_text("\n".join(("mixture,reference,output,reference2", *rows)) + "\n")
    assert extract("lists/todo.csv", "-o", "out").code == 0
    assert extract("meetings/a.flac", "ada.flac", "-o", "one.wav").code == 0
    assert extract("meetings/a.flac", "--reference", "ada.flac", "--reference", "ada2.flac", "-o", "two.wav").code == 0
    assert np.array_equal(sound("out/one/a.wav"), sound("one.wav"))
    assert np.array_equal(sound("out/two.wav"), sound("two.wav"))
    assert not np.array_equal(sound("one.wav"), sound("two.wav")), "the second reference is heard"
    assert extract("meetings/a.flac", "ada.flac", "--reference", "ada2.flac", "-o", "mixed.wav").code == 0
    assert np.array_equal(sound("mixed.wav"), sound("two.wav"))


def test_rate_and_channel_are_those_of_the_mixture_unless_told(extract: Extract, here: Path) -> None:
    voice = sound("meetings/a.flac")
    soundfile.write("stereo.wav", np.stack([voice, 0.5 * voice], axis=1), 16000)
    assert extract("stereo.wav", "ada.flac", "-o", "out.wav").code == 0
    assert (soundfile.info("out.wav").samplerate, sound("out.wav").shape) == (16000, (len(voice), 2))
    assert extract("stereo.wav", "ada.flac", "-o", "out.wav", "--sample-rate", 8000, "--channel", 1).code == 0
    assert (soundfile.info("out.wav").samplerate, soundfile.info("out.wav").channels) == (8000, 1)
    outcome = extract("stereo.wav", "ada.flac", "-o", "out.wav", "--channel", 2)
    assert outcome.code == 2 and "--channel 2" in outcome.err and "stereo.wav has 2" in outcome.err


def test_a_voice_that_seems_absent_is_warned_of(extract: Extract, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = ("meetings/a.flac", "ada.flac", "-o", "out.wav", "--json")
    outcome = extract(*given)
    report = json.loads(outcome.out)
    assert report["presence_db"] == pytest.approx(report["output_rms_db"] - report["mixture_rms_db"])
    assert report["seems_absent"] is (report["presence_db"] < files.ABSENT_DB) is ("seems absent" in outcome.err)
    for threshold, absent in ((report["presence_db"] + 1, True), (report["presence_db"] - 1, False)):
        monkeypatch.setattr(files, "ABSENT_DB", threshold)
        outcome = extract(*given)
        assert json.loads(outcome.out)["seems_absent"] is absent
        assert ("meetings/a.flac: the reference's voice seems absent" in outcome.err) is absent


CHECKED = {
    ("meetings/a.flac", "-o", "out.wav"): (2, "meetings/a.flac: no reference"),
    ("meetings", "ada.flac", "-o", "out.wav"): (2, "a folder is needed"),
    ("meetings", "ada.flac", "-o", "none/out"): (2, "there is no folder none"),
    ("meetings", "ada.flac", "-o", "out", "--target", "ada.flac"): (2, "--target ada.flac: belongs to one mixture"),
    ("empty", "ada.flac", "-o", "out"): (2, "empty: no recordings in it"),
    ("twins", "ada.flac", "-o", "out"): (2, "out/a.wav: 2 mixtures"),
    ("inplace", "ada.flac", "-o", "inplace"): (2, "which would be overwritten"),
    ("broken", "ada.flac", "-o", "out"): (1, "broken/b.flac: not readable"),
    ("meetings", "broken/b.flac", "-o", "out"): (1, "broken/b.flac: not readable"),
    ("meetings/a.flac", "talk.m4a", "-o", "out.wav"): (1, "talk.m4a: .m4a files are read by ffmpeg"),
    ("meetings/a.flac", "ada.flac", "-o", "out.wav", "--target", "short.wav"): (1, "short.wav: shorter than"),
    ("list.csv", "ada.flac", "-o", "out"): (2, "a list names the references"),
    ("list.csv", "-o", "out"): (1, "list.csv: row 3 has no reference"),
    ("columns.csv", "-o", "out"): (1, "columns.csv: no column output"),
    ("rows.csv", "-o", "out"): (1, "rows.csv: no rows"),
    ("none.csv", "-o", "out"): (1, "none.csv: "),
}


@pytest.mark.parametrize("arguments", CHECKED)
def test_all_is_checked_before_the_work(
    extract: Extract, here: Path, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("empty", "twins", "inplace", "broken"):
        Path(folder).mkdir()
    for name in ("twins/a.flac", "broken/a.flac"):
        shutil.copy("meetings/a.flac", name)
    for name, seconds in (("twins/a.wav", 2), ("inplace/a.wav", 2), ("short.wav", 0.5)):
        soundfile.write(name, sound("meetings/a.flac")[: round(seconds * 16000)], 16000)
    Path("broken/b.flac").write_bytes(b"fLaC and nothing")
    Path("talk.m4a").write_bytes(b"sound")
    Path("list.csv").write_text("mixture,reference,output\nmeetings/a.flac,ada.flac,a.wav\nmeetings/b.flac,,b.wav\n")
    Path("columns.csv").write_text("mixture,reference\nmeetings/a.flac,ada.flac\n")
    Path("rows.csv").write_text("mixture,reference,output\n")
    monkeypatch.setenv("PATH", str(here))
    before = sorted(here.rglob("*"))
    code, words = CHECKED[arguments]
    outcome = extract(*arguments)
    assert outcome.code == code, outcome.err
    assert words in outcome.err and len(outcome.err.splitlines()) == 1, outcome.err
    assert sorted(here.rglob("*")) == before


def test_what_turns_out_to_be_broken_on_the_way_costs_only_itself(extract: Extract, here: Path) -> None:
    whole = Path("meetings/a.flac").read_bytes()
    Path("meetings/a.flac").write_bytes(whole[: len(whole) // 2])
    outcome = extract("meetings", "ada.flac", "-o", "voices", "--json")
    assert outcome.code == 1
    assert "1 of 2 mixtures failed" in outcome.err
    results = json.loads(outcome.out)["files"]
    assert "meetings/a.flac" in results[0]["error"] and results[1]["output"] == "voices/b.wav"
    assert [path.name for path in (here / "voices").iterdir()] == ["b.wav"]
