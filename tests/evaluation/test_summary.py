"""Intervals, quantiles and groups of scenes."""

import math

import pytest

from hifitse.evaluation.intervals import clustered_interval
from hifitse.evaluation.summary import break_down, summarize
from hifitse.metrics import Sample


def scene(index: int, speaker: str | None, si_sdri_db: float, **facts: float | int | None) -> Sample:
    return Sample(
        index,
        True,
        si_sdr_db=si_sdri_db,
        si_sdri_db=si_sdri_db,
        rms_estimate=0.5,
        rms_target=1.0,
        interferer_si_sdr_db=-10.0,
        speaker=speaker,
        **facts,  # type: ignore[arg-type]
    )


QUALITY = [5.0, 6.0, -3.0, -1.0, 9.0, 2.0]
SPEAKERS = ["ada", "ada", "bob", "bob", "eve", "ada"]
SCENES = [
    scene(i, speaker, quality, num_interferers=1 + i % 2, sir_db=float(i), snr_db=None, reference_seconds=2.0)
    for i, (speaker, quality) in enumerate(zip(SPEAKERS, QUALITY, strict=True))
]


def test_each_metric_has_its_interval_and_quantiles_over_scenes() -> None:
    found = summarize(SCENES)
    assert found["tp_si_sdri"].interval == clustered_interval(QUALITY, SPEAKERS)
    assert found["tp_si_sdri"].quantiles is not None and found["tp_si_sdri"].quantiles[0.5] == 3.5
    assert found["rms_ratio"].interval.mean == 0.5 and found["rms_ratio"].interval.standard_error == pytest.approx(0)
    assert found["confusion_rate"].interval.mean == 0.0 and found["failure_rate"].interval.mean == pytest.approx(1 / 3)
    assert (found["failure_rate"].interval.low, found["failure_rate"].interval.high) == (0.0, 1.0)
    assert found["failure_rate"].quantiles is None, "a share of scenes has none"
    assert "ta_suppression_db" not in found and "val_loss" not in found and "presence_eer" not in found


def test_an_older_result_says_no_more_than_its_means() -> None:
    older = [scene(i, None, quality) for i, quality in enumerate(QUALITY)]
    found = summarize(older)["tp_si_sdri"]
    assert found.interval.mean == 3.0 and math.isnan(found.interval.low)
    assert not break_down(older)


def test_scenes_are_grouped_by_what_makes_them_hard_the_worst_speaker_first() -> None:
    groups = break_down(SCENES)
    assert [(group.name, group.num_scenes) for group in groups["speaker"]] == [("bob", 2), ("ada", 3), ("eve", 1)]
    assert groups["speaker"][0].metrics["tp_si_sdri"] == -2.0
    assert [group.name for group in groups["num_interferers"]] == ["1", "2"]
    assert [(group.name, group.num_scenes) for group in groups["sir_db"]] == [
        ("0.0 to 1.7 dB", 2),
        ("1.7 to 3.3 dB", 2),
        ("3.3 to 5.0 dB", 2),
    ]
    assert [group.name for group in groups["reference_seconds"]] == ["2.0 s"]
    assert "snr_db" not in groups, "no scene has noise"


def test_a_figure_that_is_no_number_is_told_as_such() -> None:
    found = summarize([*SCENES, scene(6, "eve", math.nan, num_interferers=1)])["tp_si_sdri"]
    assert math.isnan(found.interval.mean) and found.quantiles is not None and math.isnan(found.quantiles[0.5])
    assert break_down([*SCENES, scene(6, "eve", math.nan, num_interferers=1)])["speaker"][0].name == "eve"
