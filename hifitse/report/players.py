"""What to listen to: telling scenes of the validation, rendered again, and what models make of them."""

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import soundfile as sf
import torch
from matplotlib.image import imsave
from torch import nn

from hifitse.audio.files import Samples, resample
from hifitse.checkpoint.file import load_checkpoint
from hifitse.checkpoint.weights import load_model
from hifitse.errors import HifitseError
from hifitse.evaluation.validation import scenes_digest
from hifitse.experiment import Experiment
from hifitse.metrics import Sample
from hifitse.mixing.curriculum import validation_settings
from hifitse.mixing.loader import VALIDATION_PURPOSE, VALIDATION_SEED
from hifitse.mixing.rendering import Rendered, render_index
from hifitse.report.contents import Contents

MOST_BYTES = 6_000_000
"""Of all clips of a page, as text; further scenes are left out."""
_MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_MP3_QUALITY = 0.35
"""0: the best and largest; 1: the smallest."""
_PEAK = 0.9
_RANGE_DB = 70.0
_IMAGE_ROWS = 128


@dataclass(frozen=True)
class Clip:
    """A sound and its spectrogram, as data URIs."""

    title: str
    facts: str
    audio: str
    image: str

    @property
    def num_bytes(self) -> int:
        return len(self.audio) + len(self.image)


@dataclass(frozen=True)
class SceneRow:
    """A scene with its clips: mixture, reference, target, and the estimate of each model."""

    title: str
    facts: str
    clips: Sequence[Clip]


@dataclass(frozen=True)
class Listening:
    """All that there is to listen to, and what to know about it."""

    rows: Sequence[SceneRow] = ()
    notes: list[str] = field(default_factory=list)


def telling_scenes(samples: Sequence[Sample]) -> dict[int, str]:
    """Return indices of scenes that show what a model does, and what each of them shows."""
    present = sorted((s for s in samples if s.si_sdri_db is not None), key=lambda s: s.si_sdri_db or 0)
    absent = sorted((s for s in samples if s.suppression_db is not None), key=lambda s: s.suppression_db or 0)
    # The least rejected one is a matter of taste, the most rejected one is not.
    rejected = sorted((s for s in present if s.is_rejection), key=lambda s: s.rms_ratio or 0)
    confused = [s for s in present if s.is_confusion]
    choices = [
        ("best", present[-1:]),
        ("median", present[len(present) // 2 :][:1]),
        ("worst", present[:1]),
        ("rejected", rejected[:1]),
        ("confused", confused[:1]),
        ("target absent, median", absent[len(absent) // 2 :][:1]),
        ("target absent, least suppressed", absent[:1]),
    ]
    found: dict[int, str] = {}
    for what, chosen in choices:
        for sample in chosen:
            found[sample.index] = f"{found[sample.index]}, {what}" if sample.index in found else what
    return found


def listen(
    runs: Sequence[Contents], experiment: Experiment, progress: Callable[[int, int], None] = lambda done, total: None
) -> Listening:
    """Render telling scenes of the first run's validation, and what the chosen checkpoint of each run makes of them.

    Args:
        experiment: with the corpora of the first run.
        progress: called with how many scenes are done, and of how many.
    """
    first, notes = runs[0], []
    if not first.chosen:
        return Listening()
    digest = first.chosen.scenes_digest
    if digest != scenes_digest(experiment):
        return Listening(notes=["no audio: the corpora here do not give the scenes that were validated"])
    models: list[tuple[Contents, nn.Module]] = []
    for run in runs:
        if not run.chosen or run.chosen.scenes_digest != digest:
            notes.append(f"{run.name} is not to be heard: it was validated on other scenes")
            continue
        try:
            checkpoint = load_checkpoint(run.chosen_path)
            models.append((run, load_model(checkpoint, run.config, experiment.device, "ema")))
        except HifitseError as error:
            notes.append(f"{run.name} is not to be heard: {error}")
    rows: list[SceneRow] = []
    wanted, num_bytes = telling_scenes(first.chosen.samples), 0
    for number, (index, what) in enumerate(wanted.items()):
        row = _row(index, what, first, models, experiment)
        num_bytes += sum(clip.num_bytes for clip in row.clips)
        if num_bytes > MOST_BYTES:
            notes.append(f"{len(wanted) - number} more scenes would make the page too large")
            break
        rows.append(row)
        progress(number + 1, len(wanted))
    return Listening(rows, notes)


def _row(
    index: int, what: str, first: Contents, models: Sequence[tuple[Contents, nn.Module]], experiment: Experiment
) -> SceneRow:
    config, rate = experiment.config, experiment.config.audio.sample_rate
    settings, pool = validation_settings(config), experiment.corpus.held_out
    scene, heard = render_index(VALIDATION_SEED, VALIDATION_PURPOSE, index, settings, pool, config.audio, config.mixing)
    # One gain for all that belongs together: what is louder sounds louder.
    gain = _PEAK / max(float(np.abs(heard.mixture).max()), 1e-6)
    clips = [
        clip("mixture", "", gain * heard.mixture, rate),
        clip("reference", scene.speaker, _normalized(heard.reference), rate),
        clip("target", "" if scene.present else "silence: the target is absent", gain * heard.target, rate),
    ]
    for run, model in models:
        title = "estimate" if len(models) == 1 else f"estimate of {run.name}"
        outcome = _outcome(_sample(run, index))
        clips.append(clip(title, outcome, gain * _estimate(model, heard, experiment), rate))
    return SceneRow(f"{what[0].upper()}{what[1:]}", f"scene {index}{_scene_facts(_sample(first, index))}", clips)


def _sample(run: Contents, index: int) -> Sample:
    assert run.chosen, "its scenes were chosen from"
    return next(sample for sample in run.chosen.samples if sample.index == index)


def _scene_facts(sample: Sample) -> str:
    if sample.speaker is None:
        return ""
    figures = [
        sample.speaker,
        f"{sample.num_interferers} interferer{'s' if sample.num_interferers != 1 else ''}",
        *([f"SIR {sample.sir_db:.1f} dB"] if sample.sir_db is not None else []),
        f"SNR {sample.snr_db:.1f} dB" if sample.snr_db is not None else "no noise",
        f"{sample.reference_seconds:.1f} s of speech in the reference",
    ]
    return " · ".join(["", *figures])


def _outcome(sample: Sample) -> str:
    if sample.suppression_db is not None:
        return f"{sample.suppression_db:.1f} dB below the mixture"
    level = 20 * np.log10(max(sample.rms_ratio or 0, 1e-6))
    return f"SI-SDRi {sample.si_sdri_db or 0:.1f} dB, level {level:+.1f} dB"


def _estimate(model: nn.Module, heard: Rendered, experiment: Experiment) -> Samples:
    mixture, reference = (
        torch.from_numpy(part)[None].to(experiment.device) for part in (heard.mixture, heard.reference)
    )
    with torch.inference_mode(), experiment.autocast():
        estimate: Samples = model(mixture, reference)[0].float().cpu().numpy()
        return estimate


def _normalized(waveform: Samples) -> Samples:
    return waveform * (_PEAK / max(float(np.abs(waveform).max()), 1e-6))


def clip(title: str, facts: str, waveform: Samples, sample_rate: int) -> Clip:
    """Return a waveform (L,) as MP3, which every browser plays, with its spectrogram."""
    rate = next((rate for rate in _MP3_RATES if rate >= sample_rate), _MP3_RATES[-1])
    heard = np.clip(resample(waveform, sample_rate, rate), -1, 1)
    audio = io.BytesIO()
    sf.write(
        audio,
        heard,
        rate,
        format="MP3",
        subtype="MPEG_LAYER_III",
        bitrate_mode="VARIABLE",
        compression_level=_MP3_QUALITY,
    )
    return Clip(title, facts, _uri("audio/mpeg", audio), _uri("image/webp", _spectrogram(waveform, sample_rate)))


def _spectrogram(waveform: Samples, sample_rate: int) -> io.BytesIO:
    """Return a picture of the levels between 70 dB below full scale and full scale, low frequencies at the bottom."""
    window = 2 ** round(np.log2(0.032 * sample_rate))
    spectrum = torch.stft(
        torch.from_numpy(np.ascontiguousarray(waveform, np.float32)),
        window,
        window // 4,
        window=torch.hann_window(window),
        return_complex=True,
    )
    power = (spectrum.abs() / (window / 4)).square()
    # Fewer rows than bins: the mean of each row's bins.
    rows = torch.nn.functional.adaptive_avg_pool2d(power[None], (min(_IMAGE_ROWS, len(power)), power.shape[1]))[0]
    picture = io.BytesIO()
    levels = 10 * torch.log10(rows + 1e-12).numpy()
    imsave(picture, levels, vmin=-_RANGE_DB, vmax=0, cmap="magma", origin="lower", format="webp")
    return picture


def _uri(kind: str, data: io.BytesIO) -> str:
    return f"data:{kind};base64,{base64.b64encode(data.getvalue()).decode()}"
