"""Causes in what the model makes of voices that it was not trained on."""

from collections import Counter
from collections.abc import Sequence

from hifitse.config.schema import Config
from hifitse.evaluation.diagnosis.evidence import Evidence, Finding
from hifitse.evaluation.intervals import clustered_interval
from hifitse.evaluation.result import ValidationResult
from hifitse.metrics import Sample

# Of rms_ratio: held-out voices below this, and this far below those of the training, are taken for absent.
_LEVEL, _LEVEL_GAP = 0.9, 0.08
# A wrong voice gains this much SI-SDR over the mixture; from this share of scenes on it is a cause.
_WRONG_VOICE_DB, _WRONG_VOICE_RATE = 3.0, 0.05
# SI-SDR that held-out voices lose while those of the training gain.
_OVERFITTING_DB = 0.5
_HALF = 0.5
# Measured to help (docs/models.md); no further is known to.
_WIDE_SPEEDS = (0.75, 1.35)
_NUM_SPEAKERS_NAMED = 4


def rejects_unseen_voices(evidence: Evidence) -> Finding | None:
    """The level holds on known voices, and others are taken for absent."""
    apart = []
    for result in reversed(evidence.results):
        known = evidence.known_level(result)
        level = result.metrics["rms_ratio"]
        if known is None or level >= _LEVEL or level > known - _LEVEL_GAP:
            break
        apart.append((result.step, level, known))
    if not apart or not evidence.has_unseen_speakers:
        return None
    (step, level, known), (since, *before) = apart[0], apart[-1]
    present = [sample for sample in evidence.newest.samples if sample.present]
    quiet = [sample for sample in present if sample.rms_ratio is not None and sample.rms_ratio < _HALF]
    rejected = sum(bool(sample.is_rejection) for sample in present)
    start = evidence.first_ta_step
    began = f"; TA scenes began at step {start}" if start else ""
    return Finding(
        "rejects_unseen_voices",
        "voices that were never trained on are taken for absent: the model does not generalise",
        (
            f"rms_ratio is {level:.2f} on held-out speakers and {known:.2f} on those of the training at step {step}",
            f"they are apart since step {since}, where it was {before[0]:.2f} and {before[1]:.2f}{began}",
            f"{_share(len(quiet), present)} of the TP outputs have less than half their level, "
            f"{_share(rejected, present)} are rejected{_speakers(quiet)}",
        ),
        (*_more_voices(evidence), *_less_absence(evidence.config)),
    )


def extracts_wrong_voices(evidence: Evidence) -> Finding | None:
    """An interferer is extracted; a model that only lets the mixture pass does not count."""
    present = [sample for sample in evidence.newest.samples if sample.present]
    wrong = [sample for sample in present if _is_wrong_voice(sample)]
    if len(wrong) < _WRONG_VOICE_RATE * len(present):
        return None
    config = evidence.config
    return Finding(
        "extracts_wrong_voices",
        "wrong voices are extracted: the reference does not tell the speakers apart",
        (
            f"in {_share(len(wrong), present)} of the TP scenes of step {evidence.newest.step} the output is nearer to "
            f"an interferer than to the target, and over {_WRONG_VOICE_DB:g} dB nearer to it than the mixture"
            f"{_speakers(wrong)}",
        ),
        (
            f"a longer audio.reference_seconds ({config.audio.reference_seconds:g} now)",
            f"a lower mixing.reference_dropout ({config.mixing.reference_dropout:g} now)",
            "listen to these speakers: hifitse data preview; a folder of data.speech may hold several voices",
            *_more_voices(evidence),
        ),
    )


def overfits(evidence: Evidence) -> Finding | None:
    """Known voices gain SI-SDR while held-out ones lose it, in scenes where those are not taken for absent."""
    newest = evidence.newest
    best = max(evidence.results, key=lambda result: result.metrics["tp_si_sdri"])
    if best is newest or best.train_metrics is None or newest.train_metrics is None:
        return None
    gained = newest.train_metrics["tp_si_sdri"] - best.train_metrics["tp_si_sdri"]
    lost = _lost(best, newest)
    if gained < _OVERFITTING_DB or lost is None or lost[0] < _OVERFITTING_DB or not lost[1] > 0:
        return None
    return Finding(
        "overfits",
        "the model overfits: it gains on the voices of the training and loses on others",
        (
            f"from step {best.step} to {newest.step} tp_si_sdri changes by {gained:+.2f} dB on training speakers and "
            f"by {-lost[0]:+.2f} dB on held-out ones",
            f"now it is {newest.train_metrics['tp_si_sdri']:.2f} and {newest.metrics['tp_si_sdri']:.2f} dB",
        ),
        (
            *_more_voices(evidence),
            f"more noise and rooms: data.noise, data.rir, mixing.rir_probability ({_rooms(evidence.config)} now)",
            "a smaller model, or fewer train.total_steps; hifitse select-best finds the checkpoint before it",
        ),
    )


def _is_wrong_voice(sample: Sample) -> bool:
    if not sample.is_confusion or sample.interferer_si_sdr_db is None or sample.sir_db is None:
        return False
    # In the mixture, the loudest interferer has an SI-SDR of at most -SIR.
    return sample.interferer_si_sdr_db + sample.sir_db > _WRONG_VOICE_DB


def _lost(best: ValidationResult, newest: ValidationResult) -> tuple[float, float] | None:
    """Return how much SI-SDRi held-out voices have lost since their best, and at least, in scenes of both that are no
    rejections; None where the scenes are of a single speaker."""
    pairs = [
        (before.si_sdri_db - after.si_sdri_db, after.speaker or "")
        for before, after in zip(best.samples, newest.samples, strict=True)
        if before.si_sdri_db is not None and after.si_sdri_db is not None and not after.is_rejection
    ]
    if not pairs:
        return None
    interval = clustered_interval(*zip(*pairs, strict=True))
    return interval.mean, interval.low


def _more_voices(evidence: Evidence) -> tuple[str, ...]:
    corpus, speeds = evidence.corpus, evidence.config.mixing.speeds
    now = "" if corpus is None else f" ({len(corpus.train.speakers)} train now)"
    speakers = f"more speakers in data.speech{now}"
    if min(speeds) <= _WIDE_SPEEDS[0] and max(speeds) >= _WIDE_SPEEDS[1]:
        return (speakers,)
    return (
        speakers,
        f"wider mixing.speeds, which make new voices ({min(speeds):g} to {max(speeds):g} now), e.g. from "
        f"{_WIDE_SPEEDS[0]:g} to {_WIDE_SPEEDS[1]:g} in nine steps",
    )


def _less_absence(config: Config) -> tuple[str, ...]:
    ratios = [f"{phase.name}.absent_ratio" for phase in config.curriculum if phase.absent_ratio > 0]
    values = [f"{phase.absent_ratio:g}" for phase in config.curriculum if phase.absent_ratio > 0]
    return (
        *(f"a lower curriculum.{key} ({value} now)" for key, value in zip(ratios, values, strict=True)),
        f"a lower loss.ta_weight ({config.loss.ta_weight:g} now)",
    )


def _rooms(config: Config) -> str:
    return f"{config.mixing.rir_probability:g}"


def _share(count: int, samples: Sequence[Sample]) -> str:
    return f"{100 * count / len(samples):.0f} %"


def _speakers(samples: Sequence[Sample]) -> str:
    """Return the speakers that most of the samples are of, in words."""
    counts = Counter(sample.speaker for sample in samples if sample.speaker is not None)
    named = [f"{speaker} ({count})" for speaker, count in counts.most_common(_NUM_SPEAKERS_NAMED)]
    more = f" and {len(counts) - len(named)} more" if len(counts) > len(named) else ""
    return f", most often {', '.join(named)}{more}" if named else ""
