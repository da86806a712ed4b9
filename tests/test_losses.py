"""The loss terms and the Objective: values, agreement with torchmetrics, gradients, split invariance."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.functional.audio import scale_invariant_signal_distortion_ratio

from hifitse.config.schema import AbsentLoss, LossConfig
from hifitse.losses import (
    Counts,
    Objective,
    amplitude_loss,
    energy_loss,
    phase_loss,
    relative_energy_loss,
    si_sdr,
    suppression_loss,
)


def at_level(db: float, length: int = 8000, seed: int = 0) -> torch.Tensor:
    """Noise (1, length) whose mean energy is ``db``."""
    noise = torch.randn(1, length, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return noise / noise.square().mean().sqrt() * 10 ** (db / 20)


@pytest.mark.parametrize(("level_db", "expected"), [(-20, 10), (-30, 0), (-40, 0), (-100, 0)])
def test_the_hinge_costs_what_is_above_the_target_level_and_never_pays(level_db: float, expected: float) -> None:
    assert energy_loss(at_level(level_db), target_db=-30).item() == pytest.approx(expected, abs=1e-3)


@given(seed=st.integers(0, 1000), noise_db=st.floats(-40, 20), offset=st.floats(-1, 1))
def test_si_sdr_agrees_with_torchmetrics(seed: int, noise_db: float, offset: float) -> None:
    target = at_level(-20, seed=seed)
    estimate = target + at_level(-20 + noise_db, seed=seed + 1) + offset
    expected = scale_invariant_signal_distortion_ratio(estimate, target, zero_mean=True)
    assert si_sdr(estimate, target).item() == pytest.approx(expected.item(), abs=1e-6)


def test_si_sdr_ignores_scale_but_not_silence() -> None:
    target = at_level(-20)
    estimate = target + at_level(-30, seed=1)
    assert si_sdr(0.01 * estimate, target).item() == pytest.approx(si_sdr(estimate, target).item(), abs=1e-6)
    assert si_sdr(torch.zeros_like(target), target).item() < -50
    assert math.isfinite(si_sdr(estimate, torch.zeros_like(target)).item())


@given(gain=st.floats(0.01, 100))
def test_amplitude_is_zero_at_the_level_and_equal_for_a_gain_and_its_inverse(gain: float) -> None:
    target = at_level(-20)
    assert amplitude_loss(target, target).item() == pytest.approx(0, abs=1e-12)
    louder, softer = amplitude_loss(gain * target, target), amplitude_loss(target / gain, target)
    assert louder.item() == pytest.approx(softer.item(), rel=1e-2, abs=1e-6)
    assert louder.item() == pytest.approx(math.log(gain) ** 2, rel=1e-2, abs=1e-6)


@pytest.mark.parametrize("gain_db", [0, -20, -60, -80])
def test_amplitude_pulls_a_silent_estimate_up(gain_db: float) -> None:
    target = at_level(-20).float()
    log_gain = torch.tensor(gain_db * math.log(10) / 20 - 0.01, requires_grad=True)
    amplitude_loss(log_gain.exp() * target, target).sum().backward()
    assert torch.isfinite(log_gain.grad)
    assert log_gain.grad < -0.01


def test_every_term_has_a_finite_gradient_at_exact_silence() -> None:
    target = at_level(-20).float()
    for term in (
        lambda e: -si_sdr(e, target),
        lambda e: amplitude_loss(e, target),
        lambda e: phase_loss(e, target),
        lambda e: energy_loss(e, target_db=-30),
        lambda e: suppression_loss(e, target, suppression_db=20),
        lambda e: relative_energy_loss(e, target, floor=0.01),
    ):
        estimate = torch.zeros_like(target, requires_grad=True)
        term(estimate).sum().backward()
        assert torch.isfinite(estimate.grad).all()


def test_the_suppression_term_asks_the_same_of_loud_and_quiet_mixtures() -> None:
    for level_db in (-10, -30):
        mixture = at_level(level_db)
        terms = [
            suppression_loss(gain * mixture, mixture, suppression_db=20).item() for gain in (1, 0.316228, 0.1, 0.01)
        ]
        assert terms == pytest.approx([20, 10, 0, 0], abs=0.05)


def test_the_relative_term_is_3_db_at_its_floor_and_never_negative() -> None:
    mixture = at_level(-20)
    assert relative_energy_loss(0.1 * mixture, mixture, floor=0.01).item() == pytest.approx(3.01, abs=0.01)
    assert relative_energy_loss(0 * mixture, mixture, floor=0.01).item() == 0


def test_phase_is_the_mean_error_of_the_stft_parts() -> None:
    target, estimate = at_level(-20), at_level(-22, seed=3)
    errors = []
    for n_fft, window, hop in ((512, 240, 50), (1024, 600, 120), (2048, 1200, 240)):
        shape = torch.hann_window(window, dtype=torch.float64)
        a = torch.stft(estimate, n_fft, hop, window, shape, return_complex=True)
        b = torch.stft(target, n_fft, hop, window, shape, return_complex=True)
        errors.append(0.5 * ((a.real - b.real).abs().mean() + (a.imag - b.imag).abs().mean()))
    assert phase_loss(estimate, target).item() == pytest.approx((sum(errors) / 3).item(), rel=1e-6)


def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(5)
    estimate, target, mixture = 0.1 * torch.randn(3, 6, 4000, generator=rng)
    present = torch.tensor([True, False, True, True, False, True])
    return estimate, target * present[:, None], mixture, present


def objective(**changes: float) -> Objective:
    return Objective(LossConfig(**changes))


@pytest.mark.parametrize("kind", ["hinge", "suppression", "relative", "raw_db"])
def test_the_loss_is_the_formula(kind: str) -> None:
    estimate, target, mixture, present = batch()
    config = LossConfig(
        ta_weight=0.3, amplitude_weight=2.0, phase_weight=0.7, absent=AbsentLoss(kind=kind, target_db=-30)
    )
    goal = Objective(config)
    loss = goal.loss(goal.sums(estimate, target, mixture, present, True), Counts(4, 2), True)
    tp, ta = present, ~present
    absent = {
        "hinge": energy_loss(estimate[ta], target_db=-30),
        "suppression": suppression_loss(estimate[ta], mixture[ta], suppression_db=config.absent.suppression_db),
        "relative": relative_energy_loss(estimate[ta], mixture[ta], floor=config.absent.relative_floor),
        "raw_db": 10 * torch.log10(estimate[ta].square().mean(-1) + 1e-8),
    }[kind]
    expected = (
        0.7 * -si_sdr(estimate[tp], target[tp]).mean()
        + 0.3 * absent.mean()
        + 2.0 * amplitude_loss(estimate[tp], target[tp]).mean()
        + 0.7 * phase_loss(estimate[tp], target[tp]).mean()
    )
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("size", [1, 2, 4])
def test_the_split_into_micro_batches_changes_neither_loss_nor_gradient(size: int) -> None:
    *waveforms, present = batch()

    def split(micro: int) -> tuple[float, torch.Tensor]:
        estimate = waveforms[0].clone().requires_grad_()
        goal, total = objective(ta_weight=0.3), 0.0
        for i in range(0, len(present), micro):
            part = slice(i, i + micro)
            sums = goal.sums(estimate[part], waveforms[1][part], waveforms[2][part], present[part], True)
            loss = goal.loss(sums, Counts(4, 2), True)
            loss.backward()
            total += loss.item()
        return total, estimate.grad

    whole, parts = split(6), split(size)
    assert parts[0] == pytest.approx(whole[0], rel=1e-6)
    torch.testing.assert_close(parts[1], whole[1], rtol=1e-5, atol=1e-9)


def test_without_ta_scenes_the_weights_are_1_and_0() -> None:
    weights = objective(ta_weight=0.3).weights(has_absent=False)
    assert weights["neg_si_sdr"] == 1
    assert "absent" not in weights


def test_a_nan_in_a_ta_scene_does_not_reach_the_tp_terms() -> None:
    estimate, target, mixture, present = batch()
    estimate[1] = math.nan
    sums = objective().sums(estimate, target, mixture, present, True)
    assert torch.isfinite(sums["neg_si_sdr"])
    assert torch.isnan(sums["absent"])


def test_half_precision_estimates_are_weighed_in_float32() -> None:
    estimate, target, mixture, present = batch()
    sums = objective().sums(estimate.bfloat16(), target, mixture, present, True)
    assert all(value.dtype == torch.float32 for value in sums.values())
