"""Complaints about a file name its line and key, what is wrong and what is meant."""

from pathlib import Path

import pytest

from tests.config.basic import BASIC, complaint, complaints

KINDS = "expected 'grid', 'compact', 'attention', 'band_attention' or 'package.module:Class'"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("ta_weight", "ta_weigth", "11: loss.ta_weigth: unknown key; did you mean 'ta_weight'?"),
        (
            "ta_weight",
            "zzz",
            "11: loss.zzz: unknown key; known here: ta_weight, absent, amplitude_weight, phase_weight",
        ),
        ("loss:", "los:", "10: los: unknown key; did you mean 'loss'?"),
        ("  kind: grid", "  kind: grid\n  num_hads: 2", "10: model.num_hads: unknown key; did you mean 'num_heads'?"),
        (
            "  kind: grid",
            "  kind: compact\n  reinject_at: []",
            "10: model.reinject_at: unknown key; known here: kind, stft, feature_dim, lstm_hidden, num_layers",
        ),
        (
            "grid",
            "grit",
            f"9: model.kind: {KINDS}, got 'grit'",
        ),
        (
            "  kind: grid",
            "  num_heads: 4",
            f"8: model.kind: {KINDS}, but it is missing",
        ),
        ("model:\n  kind: grid", "", " model: missing; The network."),
        ("  kind: grid", "  kind: grid\n  stft: {n_fft: 2048, window: 960}", "10: model.stft.hop: missing; Shift"),
        ("1e-3", "fast", "13: train.learning_rate: expected a number, got 'fast'"),
        ("learning_rate: 1e-3", "batch_size: many", "13: train.batch_size: expected a whole number, got 'many'"),
        ("learning_rate: 1e-3", "batch_size: 2.5", "13: train.batch_size: expected a whole number, got 2.5"),
        ("learning_rate: 1e-3", "batch_size:", "13: train.batch_size: expected a whole number, got nothing"),
        ("learning_rate: 1e-3", "batch_size: true", "13: train.batch_size: expected a number, not true"),
        ("learning_rate: 1e-3", "batch_size: 0", "13: train.batch_size: must be at least 1, got 0"),
        ("learning_rate: 1e-3", "learning_rate: 0", "13: train.learning_rate: must be above 0, got 0"),
        ("learning_rate: 1e-3", "learning_rate: .inf", "13: train.learning_rate: must be a finite number, got inf"),
        ("learning_rate: 1e-3", "deterministic: 7", "13: train.deterministic: expected true or false, got 7"),
        ("learning_rate: 1e-3", "betas: [0.9]", "12: train.optimizer.betas: expected a list of 2, got 1"),
        ("learning_rate: 1e-3", "betas: [0.9, 0.9, 0.9]", "12: train.optimizer.betas: expected 2 in the list, got 3"),
        ("learning_rate: 1e-3", "betas: 0.9", "12: train.optimizer.betas: expected a list of 2, got 0.9"),
        ("learning_rate: 1e-3", "betas: [0.9, 1]", "12: train.optimizer.betas[1]: must be below 1, got 1"),
        (
            "learning_rate: 1e-3",
            "precision: half",
            "13: train.precision: expected 'auto', 'float32' or 'bfloat16', got 'half'",
        ),
        ("train:\n  learning_rate: 1e-3", "train:", "12: train: expected a section of 'key: value' lines, got nothing"),
        ("ta_weight: 0.2", "ta_weight: 1", "11: loss.ta_weight: must be below 1, got 1"),
        (
            "  ta_weight: 0.2",
            "  absent:\n    kind: hing",
            "12: loss.absent.kind: expected 'hinge', 'suppression', 'relative' or 'raw_db'",
        ),
        ("absent_ratio: 0.2", "absent_ratio: x", "7: curriculum[1].absent_ratio: expected a number, got 'x'"),
        ("name: tp_ta", "name: TP", "6: curriculum[1].name: must be lower-case letters, digits, '-' and '_', got 'TP'"),
        ("speech: corpora/vctk", "speech: [a, 3]", "3: data.speech[1]: expected a path, got 3"),
        ("speech: corpora/vctk", "speech: [a, {weight: 2}]", "3: data.speech[1].path: missing; Where the corpus is"),
        ("speech: corpora/vctk", "speech: {path: a, weight: 0}", "3: data.speech[0].weight: must be above 0, got 0"),
        ("speech: corpora/vctk", "speech: [{path: 3}]", "3: data.speech[0].path: expected a path, got 3"),
        ("speech: corpora/vctk", "speech: [{path: a, wait: 2}]", "3: data.speech[0].wait: unknown key"),
        (
            "speech: corpora/vctk",
            "speech: {path: a, weight: yes}",
            "3: data.speech[0].weight: expected a number or null",
        ),
        ("speech: corpora/vctk", "speech: []", "3: data.speech: expected at least 1 in the list, got 0"),
        ("speech: corpora/vctk", "speech:", "3: data.speech: expected at least 1 in the list, got 0"),
        (
            "  kind: grid",
            "  kind: grid\n  bands: x",
            "10: model.bands: expected 'hifi_tse_48k', a whole number or a list",
        ),
        ("  kind: grid", "  kind: grid\n  bands: 0", "10: model.bands: must be at least 1, got 0"),
        ("  kind: grid", "  kind: grid\n  bands: [[0]]", "10: model.bands[0]: expected a list of 2, got 1"),
        ("  kind: grid", "  kind: grid\n  bands: 999", "10: model.bands: 999 bands do not fit into 1025 bins"),
        ("until: 1000", "until: 999999", "4: curriculum: phase tp_ta starts at 999999, after train.total_steps 500000"),
        ("learning_rate: 1e-3", "micro_batch_size: 9", "13: train: micro_batch_size 9 is above batch_size 8"),
    ],
)
def test_complaints_name_line_and_key(folder: Path, old: str, new: str, message: str) -> None:
    assert old in BASIC
    assert complaint(BASIC.replace(old, new, 1)).startswith(message)


def test_every_problem_has_its_line(folder: Path) -> None:
    text = BASIC.replace("ta_weight", "weight").replace("1e-3", "x").replace("speech", "speach")
    assert sorted(complaints(text)) == [
        "11: loss.weight: unknown key; did you mean 'ta_weight'?",
        "13: train.learning_rate: expected a number, got 'x'",
        "2: data.speech: missing; Speech corpora: folders laid out as <root>/<speaker>/**/<file>, JSONL manifests, or "
        "HDF5 files.",
        "3: data.speach: unknown key; did you mean 'speech'?",
    ]


def test_an_empty_file_says_what_is_missing(folder: Path) -> None:
    assert [line.split(";")[0] for line in complaints("")] == [
        " data: missing",
        " curriculum: missing",
        " model: missing",
    ]
