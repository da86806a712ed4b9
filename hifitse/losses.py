"""Loss terms per sample, and the one Objective that train, validate and smoke share.

Shapes: waveforms are (B, L), terms are (B,). Everything is computed in float32 or wider, whatever
the precision of the model.

To add a term: write a function of waveforms that returns (B,), give it a weight in `LossConfig`, and name it in
`Objective.weights` and `Objective.present_term`. Or do it outside, in a subclass: examples/added_loss_term.py.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from hifitse.config.schema import LossConfig

ENERGY_EPS = 1e-8
PHASE_RESOLUTIONS = ((512, 240, 50), (1024, 600, 120), (2048, 1200, 240))
"""(n_fft, window, hop) of the phase term, in samples."""


def energy_db(waveform: Tensor, eps: float = ENERGY_EPS) -> Tensor:
    """Return 10 log10(mean(x^2) + eps) per sample, in dB: (B, L) -> (B,)."""
    return 10 * torch.log10(waveform.square().mean(-1) + eps)


def si_sdr(estimate: Tensor, target: Tensor) -> Tensor:
    """Return the scale-invariant signal-to-distortion ratio in dB, (B, L), (B, L) -> (B,).

    Both signals are made zero-mean first (Le Roux et al., "SDR - half-baked or well done?", 2019).
    The floor under the distortion is relative to the target's energy, so a silent estimate scores
    very low instead of 0 dB, and a silent target gives a finite value.
    """
    eps = torch.finfo(target.dtype).eps
    estimate = estimate - estimate.mean(-1, keepdim=True)
    target = target - target.mean(-1, keepdim=True)
    target_energy = target.square().sum(-1)
    tiny = torch.finfo(target.dtype).tiny
    scale = (estimate * target).sum(-1, keepdim=True) / (target_energy[..., None] + tiny)
    projection = scale * target
    distortion = (estimate - projection).square().sum(-1)
    ratio = projection.square().sum(-1) / (distortion + eps * target_energy + tiny)
    return 10 * torch.log10(ratio + eps)


def energy_loss(estimate: Tensor, *, target_db: float, eps: float = ENERGY_EPS) -> Tensor:
    """Return max(0, E - target_db), E the energy of the estimate in dB: (B, L) -> (B,).

    At target_db -30, an estimate at -20 dB costs 10, one at -30 or at -40 costs 0: silence beyond
    the target level earns nothing.
    """
    return torch.relu(energy_db(estimate, eps) - target_db)


def suppression_loss(estimate: Tensor, mixture: Tensor, *, suppression_db: float, eps: float = ENERGY_EPS) -> Tensor:
    """Return max(0, E - E_mixture + suppression_db), energies in dB: (B,). Every scene asks for the same."""
    return torch.relu(energy_db(estimate, eps) - energy_db(mixture, eps) + suppression_db)


def relative_energy_loss(estimate: Tensor, mixture: Tensor, *, floor: float, eps: float = ENERGY_EPS) -> Tensor:
    """Return 10 log10(1 + mean(est^2) / (floor mean(mix^2))), smooth and never negative: (B,)."""
    reference_energy = floor * mixture.square().mean(-1) + eps * floor
    return 10 * torch.log10(1 + estimate.square().mean(-1) / reference_energy)


def amplitude_loss(estimate: Tensor, target: Tensor, eps: float = 1e-10) -> Tensor:
    """Return (ln RMS(estimate) - ln RMS(target))^2: 0 at the right level, equal for half and double.

    Computed from energies, so that the gradient is finite everywhere, and does not vanish along the
    gain until the estimate is below -100 dB.
    """
    log_ratio = torch.log(estimate.square().mean(-1) + eps) - torch.log(target.square().mean(-1) + eps)
    return (0.5 * log_ratio).square()


def phase_loss(estimate: Tensor, target: Tensor) -> Tensor:
    """Return the mean absolute error of real and imaginary STFT parts over three resolutions: (B,).

    Waveforms must be longer than 1024 samples (reflect padding).
    """
    total = torch.zeros(estimate.shape[0], device=estimate.device, dtype=estimate.dtype)
    for n_fft, window_length, hop in PHASE_RESOLUTIONS:
        window = torch.hann_window(window_length, device=estimate.device, dtype=estimate.dtype)
        # The STFT is linear: one transform of the difference instead of two.
        padded = _reflected(estimate - target, n_fft // 2)
        error = torch.stft(padded, n_fft, hop, window_length, window, center=False, return_complex=True)
        total = total + torch.view_as_real(error).abs().mean(dim=(1, 2, 3))
    return total / len(PHASE_RESOLUTIONS)


def _reflected(waveform: Tensor, size: int) -> Tensor:
    """Return a waveform with ``size`` samples mirrored at either end, (B, L) -> (B, L + 2 size).

    As `torch.nn.functional.pad` does it, whose gradient is not deterministic on a GPU.
    """
    before, after = waveform[:, 1 : size + 1].flip(-1), waveform[:, -size - 1 : -1].flip(-1)
    return torch.cat([before, waveform, after], dim=-1)


class Counts(NamedTuple):
    """TP and TA scenes over which a mean is taken: of a whole step, or of a whole validation."""

    num_present: int
    num_absent: int


class Objective:
    """The training objective. Built once from the config; the only code that weighs loss terms.

    With w = ta_weight, P the TP and A the TA scenes of the step over all micro-batches and ranks:
    ``L = (1-w) mean_P(-SI-SDR) + w mean_A(absent) + l_amp mean_P(amplitude) + l_phase mean_P(phase)``.
    Where no TA scenes are mixed (absent_ratio 0) the first two weights are 1 and 0.

    A micro-batch contributes sums; `loss` divides by the counts of the step. The split into
    micro-batches and ranks therefore changes nothing.
    """

    def __init__(self, config: LossConfig) -> None:
        self.config = config

    def weights(self, has_absent: bool) -> dict[str, float]:
        """Return the weight of each term that counts, in a phase with or without TA scenes."""
        ta_weight = self.config.ta_weight if has_absent else 0.0
        weights = {
            "neg_si_sdr": 1.0 - ta_weight,
            "absent": ta_weight,
            "amplitude": self.config.amplitude_weight,
            "phase": self.config.phase_weight,
        }
        return {name: weight for name, weight in weights.items() if weight > 0}

    def absent_term(self, estimate: Tensor, mixture: Tensor) -> Tensor:
        """Return the configured term of TA samples, (A, L), (A, L) -> (A,)."""
        absent = self.config.absent
        match absent.kind:
            case "hinge":
                return energy_loss(estimate, target_db=absent.target_db)
            case "suppression":
                return suppression_loss(estimate, mixture, suppression_db=absent.suppression_db)
            case "relative":
                return relative_energy_loss(estimate, mixture, floor=absent.relative_floor)
            case "raw_db":
                return energy_db(estimate)

    def present_term(self, name: str, estimate: Tensor, target: Tensor) -> Tensor:
        """Return one of the other terms, of TP samples: (P, L), (P, L) -> (P,)."""
        match name:
            case "neg_si_sdr":
                return -si_sdr(estimate, target)
            case "amplitude":
                return amplitude_loss(estimate, target)
            case "phase":
                return phase_loss(estimate, target) if len(estimate) else estimate.sum(-1)
        raise ValueError(f"no loss term is called {name}")

    def sums(
        self, estimate: Tensor, target: Tensor, mixture: Tensor, present: Tensor, has_absent: bool
    ) -> dict[str, Tensor]:
        """Return the sum of each term over the samples that it applies to.

        Args:
            estimate, target, mixture: (B, L) waveforms.
            present: (B,) bool on the CPU, True for TP samples. Samples are selected, never masked: 0 x NaN is NaN.
            has_absent: whether the phase mixes TA scenes.
        """
        estimate, target, mixture = estimate.float(), target.float(), mixture.float()
        tp, ta = places(present, estimate.device)
        estimate_tp, target_tp = estimate[tp], target[tp]
        sums: dict[str, Tensor] = {}
        for name in self.weights(has_absent):
            if name == "absent":
                terms = self.absent_term(estimate[ta], mixture[ta])
            else:
                terms = self.present_term(name, estimate_tp, target_tp)
            sums[name] = terms.sum()
        return sums

    def loss(self, sums: dict[str, Tensor], counts: Counts, has_absent: bool) -> Tensor:
        """Return the (share of the) loss that ``sums`` make up in a step with these global counts."""
        means = term_means(sums, counts)
        return torch.stack([weight * means[name] for name, weight in self.weights(has_absent).items()]).sum()


def places(present: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the places of TP and of TA samples, on a device, for (B,) bool on the CPU.

    To select by a mask on the device would wait for it, to learn how many there are.
    """
    tp, ta = present.nonzero()[:, 0], (~present).nonzero()[:, 0]
    return tp.to(device, non_blocking=True), ta.to(device, non_blocking=True)


def term_means(sums: dict[str, Tensor], counts: Counts) -> dict[str, Tensor]:
    """Divide each term's sum by the number of samples that the term applies to (0 where there are none)."""
    return {
        name: total / max(counts.num_absent if name == "absent" else counts.num_present, 1)
        for name, total in sums.items()
    }
