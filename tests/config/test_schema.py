"""The configuration refuses what cannot work, and says which settings clash."""

from typing import Any

import pytest
from pydantic import ValidationError

from hifitse.config.schema import Config

MINIMAL: dict[str, Any] = {
    "data": {"speech": ["/corpus"]},
    "curriculum": [{"name": "tp", "until": 1000, "absent_ratio": 0}, {"name": "tp_ta", "absent_ratio": 0.2}],
    "model": {"kind": "grid"},
}


def build(**changes: Any) -> Config:
    """Return the minimal configuration with some settings changed: ``loss__ta_weight=0.2``."""
    data: dict[str, Any] = {key: dict(v) if isinstance(v, dict) else v for key, v in MINIMAL.items()}
    for key, value in changes.items():
        section, _, name = key.partition("__")
        if name:
            data[section] = {**data.get(section, {}), name: value}
        else:
            data[section] = value
    return Config.model_validate(data)


def phases(*until: int | None) -> list[dict[str, Any]]:
    return [{"name": f"p{i}", "absent_ratio": 0, "until": end} for i, end in enumerate(until)]


def test_defaults_fit_together() -> None:
    config = build()
    assert config.audio.mixture_samples == 192_000
    assert config.model.stft.num_bins == 1025
    assert build(model={"kind": "compact"}).model.kind == "compact"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        # Phases.
        ({"curriculum": []}, "at least 1 item"),
        ({"curriculum": phases(None, None)}, "phase p0 must end"),
        ({"curriculum": phases(100, 100, None)}, "phase p1 must end .* after step 100, not 100"),
        ({"curriculum": phases(200, 100, None)}, "phase p1 must end .* after step 200, not 100"),
        ({"curriculum": phases(100)}, "the last phase, p0, lasts to train.total_steps"),
        ({"curriculum": phases(500_000, None)}, "phase p1 starts at 500000, after train.total_steps 500000"),
        ({"curriculum": [*phases(100), {"name": "p0", "absent_ratio": 0}]}, "phase names must differ"),
        ({"curriculum": [{"name": "TP", "absent_ratio": 0}]}, "pattern"),
        ({"curriculum": [{"name": "ta", "absent_ratio": 1}]}, "less than 1"),
        # The STFT and the bands.
        ({"model__stft": {"n_fft": 512, "window": 600, "hop": 300}}, "window 600 is longer than n_fft 512"),
        ({"model__stft": {"n_fft": 512, "window": 400, "hop": 150}}, "hop 150 must divide window 400"),
        ({"model__stft": {"n_fft": 512, "window": 400, "hop": 400}}, "hop 400 must divide window 400 at least twice"),
        ({"model__stft": {"n_fft": 513, "window": 400, "hop": 100}}, "multiple of 2"),
        ({"model__stft": {"n_fft": 512, "window": 400, "hop": 200}}, "bands span bins 0-1024, the STFT has bins 0-256"),
        ({"model__bands": 400}, "400 bands do not fit into 1025 bins"),
        ({"model__bands": [[0, 500], [600, 1024]]}, "bins 501-599 are in no band"),
        ({"model__bands": []}, "no bands"),
        ({"model__bands": [[0, 1023]]}, "bands span bins 0-1023"),
        ({"model__num_heads": 3}, "num_heads 3 does not divide feature_dim 128"),
        ({"model__reinject_at": [0, 6]}, "must ascend and stay below num_blocks 6"),
        ({"model__reinject_at": [1, 0]}, "must ascend"),
        ({"model__reinject_at": [1, 1]}, "must ascend"),
        ({"audio__mixture_seconds": 0.02}, "960 samples is too short for model.stft.n_fft 2048"),
        ({"audio__reference_seconds": 0.02}, "960 samples is too short"),
        (
            {"model": {"kind": "compact"}, "audio__reference_seconds": 0.04},
            "longer than 2048 samples for loss.phase_weight",
        ),
        # Ranges and ramps.
        ({"mixing__sir_db": [5, -5]}, "a range goes from low to high, but 5.0 > -5.0"),
        ({"mixing__num_interferers": [0, 2]}, "greater than or equal to 1"),
        ({"mixing__speeds": []}, "at least 1 item"),
        ({"mixing__speeds": [0.1]}, "greater than or equal to 0.5"),
        ({"mixing__reference_noise": {"ramp_start_step": 5, "ramp_end_step": 4}}, "ramp_start_step 5 is after"),
        # Loss, training, validation.
        ({"loss__ta_weight": 1}, "less than 1"),
        ({"loss__amplitude_weight": -1}, "greater than or equal to 0"),
        ({"loss__ta_weight": float("nan")}, "finite"),
        ({"train__micro_batch_size": 9}, "micro_batch_size 9 is above batch_size 8"),
        ({"train__warmup_steps": 500_000}, "warmup_steps 500000 must be below total_steps 500000"),
        ({"train__min_learning_rate": 1}, "min_learning_rate 1.0 is above learning_rate"),
        ({"train__log_every": True}, "log_every: expected a number, not true"),
        ({"validation__num_scenes": 4}, "gives 0 TA scenes"),
        # Shape.
        ({"data": {}}, "Field required"),
        ({"data__speech": []}, "at least 1 item"),
        ({"loss__ta_weigth": 0.1}, "Extra inputs"),
        ({"model": {"kind": "transformer"}}, "does not match any of the expected tags"),
    ],
)
def test_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        build(**changes)


def test_one_corpus_needs_no_list_and_none_is_empty() -> None:
    data = build(data={"speech": "/a", "noise": None}).data
    assert [str(path) for path in data.speech] == ["/a"]
    assert data.noise == ()


def test_a_config_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        build().seed = 1


def test_generated_bands_follow_the_stft() -> None:
    config = build(model={"kind": "grid", "stft": {"n_fft": 320, "window": 320, "hop": 160}, "bands": 10})
    assert config.model.kind == "grid"
    assert len(config.model.band_layout) == 10
    assert config.model.band_layout[-1][1] == 160


def test_every_setting_is_documented() -> None:
    def undocumented(schema: dict[str, Any]) -> list[str]:
        return [
            f"{name}.{key}"
            for name, section in [("Config", schema), *schema["$defs"].items()]
            for key, field in section["properties"].items()
            if not field.get("description")
        ]

    assert undocumented(Config.model_json_schema()) == []


def test_a_setting_of_older_runs_is_passed_over() -> None:
    assert build(train__save_attempts=5) == build()
    assert build().train.save_minutes == 120 and build().data.timeout_seconds == 300
