"""The audit: its verdicts are right, are the objective's own whatever the model, and hold in a sweep of their own."""

import functools
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from hifitse.checks.audit import Audit, audit
from hifitse.checks.audit_outputs import audit_scenes
from hifitse.config.files import load_config
from hifitse.config.schema import Config, LossConfig
from hifitse.experiment import Experiment
from hifitse.losses import Objective, amplitude_loss, phase_loss, si_sdr
from hifitse.mixing.batch import MicroBatch
from hifitse.models.build import build_model
from tests.helpers import TINY

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Thousands of small operations: threads would wait for each other, above all on a busy machine."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)


@functools.cache
def noise_scenes() -> MicroBatch:
    """Two TP and two TA scenes of 1200 samples, of noise; the reference is the target, so a model can be an oracle."""
    rng = torch.Generator().manual_seed(3)
    target, rest = torch.randn(2, 4, 1200, generator=rng)
    present = torch.tensor([True, False, True, False])
    target = target * torch.tensor([0.05, 0.0, 0.1, 0.0])[:, None]
    rest = rest * torch.tensor([0.06, 0.1, 0.08, 0.15])[:, None]
    return MicroBatch(0, 0, True, (0, 1, 2, 3), target + rest, target, target, present)


class Gain(nn.Module):
    """A model that turns the mixture up or down, and can do nothing else."""

    def __init__(self, gain: float) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(gain))

    def forward(self, mixture: Tensor, reference: Tensor) -> Tensor:
        return self.gain * mixture


class Oracle(nn.Module):
    """A model without weights that gives the target, and digital silence where there is none."""

    def forward(self, mixture: Tensor, reference: Tensor) -> Tensor:
        return reference


def untrained() -> nn.Module:
    config = load_config(TINY, ())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build_model(config.model, config.audio.sample_rate)


MODELS: dict[str, Callable[[], nn.Module]] = {
    "untrained": untrained,
    "pass-through": lambda: Gain(1.0),
    "nearly silent": lambda: Gain(1e-3),
    "oracle": Oracle,
}


def objective(**changes: Any) -> Objective:
    return Objective(LossConfig(**changes))


def found(result: Audit, topic: str) -> Any:
    return next(finding for finding in result.findings if finding.topic == topic)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    ("loss", "verdict"),
    [
        ({"absent": {"kind": "raw_db"}}, "fail"),
        ({"absent": {"kind": "raw_db"}, "amplitude_weight": 0, "phase_weight": 0}, "fail"),
        ({"absent": {"kind": "hinge", "target_db": -110}}, "fail"),
        ({"amplitude_weight": 0}, "warn"),
        ({"amplitude_weight": 0, "absent": {"kind": "relative"}}, "warn"),
        ({"amplitude_weight": 3.7}, "warn"),
        ({"phase_weight": 500}, "warn"),
        ({"amplitude_weight": 3.8}, "pass"),
        ({}, "pass"),
        ({"absent": {"kind": "relative"}}, "pass"),
        ({"absent": {"kind": "suppression"}}, "pass"),
        ({"absent": {"kind": "suppression"}, "amplitude_weight": 0}, "warn"),
        ({"absent": {"kind": "relative", "relative_floor": 1e-6}}, "pass"),
        ({"ta_weight": 0}, "pass"),
        ({"ta_weight": 0, "amplitude_weight": 0, "phase_weight": 0}, "warn"),
    ],
)
def test_the_verdict_is_that_of_the_objective_whatever_the_model(
    loss: dict[str, Any], verdict: str, model: str
) -> None:
    assert audit(objective(**loss), MODELS[model](), noise_scenes()).verdict == verdict


@pytest.mark.parametrize("ta_weight", [0.1, 0.3])
def test_a_raw_energy_is_said_to_pay_for_silence(ta_weight: float) -> None:
    result = audit(objective(ta_weight=ta_weight, absent={"kind": "raw_db"}), Oracle(), noise_scenes())
    silence = found(result, "silence")
    assert silence.level == "fail"
    assert "every 10 dB of suppression lowers the loss by" in silence.message
    assert silence.figures["earned_by_10_db_20_db_below"] == pytest.approx(10 * ta_weight, rel=0.05)


def test_silence_beyond_the_target_level_earns_nothing_or_fades_out() -> None:
    hinge = found(audit(objective(), Oracle(), noise_scenes()), "silence").figures
    assert max(hinge.values()) < 1e-3
    relative = found(audit(objective(absent={"kind": "relative"}), Oracle(), noise_scenes()), "silence").figures
    assert relative["earned_by_10_db"] == pytest.approx(0.1 * 10 * math.log10(2 / 1.1), rel=1e-3)
    assert relative["earned_by_10_db_20_db_below"] < 0.02 * relative["earned_by_10_db"] + 1e-3


@pytest.mark.parametrize("kind", ["hinge", "suppression", "relative"])
def test_the_weight_that_the_audit_asks_for_is_enough_and_less_is_not(kind: str) -> None:
    def level(amplitude_weight: float) -> Any:
        loss = {"ta_weight": 0.2, "absent": {"kind": kind}, "amplitude_weight": amplitude_weight}
        return found(audit(objective(**loss), Oracle(), noise_scenes()), "TP level")

    needed = level(0).figures["needed_amplitude_weight"]
    assert needed == pytest.approx(0.2 / (2 * (math.log(10) / 20) ** 2), rel=1e-2)
    assert "nothing holds the TP level" in level(0).message
    assert level(0.99 * needed).level == "warn"
    assert level(1.01 * needed).level == "pass"
    assert level(2 * needed).figures["lowest_at_db"] == pytest.approx(-0.5, abs=1e-3)


def test_the_slope_at_the_present_output_says_where_the_loss_pushes_it() -> None:
    loud = found(audit(objective(), Gain(2.0), noise_scenes()), "present slope").figures
    silent = found(audit(objective(), Gain(1e-3), noise_scenes()), "present slope").figures
    assert loud["absent_per_db"] == pytest.approx(0.1, rel=1e-3)
    assert loud["total_per_db"] > 0.1
    assert silent["absent_per_db"] == 0
    assert silent["total_per_db"] < -1
    assert loud["total_per_db"] == pytest.approx(sum(v for name, v in loud.items() if name != "total_per_db"))


def test_the_shares_of_the_gradient_are_those_of_backward() -> None:
    model, scenes, goal = untrained(), noise_scenes(), objective(phase_weight=0)
    figures = found(audit(goal, model, scenes), "gradients").figures
    gradients = {}
    for name, weight in goal.weights(has_absent=True).items():
        sums = goal.sums(model(scenes.mixture, scenes.reference), scenes.target, scenes.mixture, scenes.present, True)
        model.zero_grad()
        (weight * sums[name] / 2).backward()
        gradients[name] = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
    norms = {name: gradient.norm().item() for name, gradient in gradients.items()}
    for name, norm in norms.items():
        assert figures[f"share_{name}"] == pytest.approx(norm / sum(norms.values()), rel=1e-3)
    present = gradients["neg_si_sdr"] + gradients["amplitude"]
    cosine = torch.cosine_similarity(present, gradients["absent"], dim=0).item()
    assert figures["cosine_tp_ta"] == pytest.approx(cosine, abs=1e-3)


def test_the_audit_changes_neither_the_model_nor_the_random_state() -> None:
    model = nn.Sequential()
    model.add_module("inner", untrained())
    model.add_module("dropout", nn.Dropout(0.5))
    model.forward = lambda mixture, reference: model.dropout(model.inner(mixture, reference))
    model.train()
    model.inner.eval()
    first = next(model.parameters())
    first.grad = torch.ones_like(first)
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    random_state = torch.get_rng_state()
    with torch.no_grad():
        audit(objective(), model, noise_scenes())
    assert torch.equal(torch.get_rng_state(), random_state)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())
    assert torch.equal(first.grad, torch.ones_like(first))
    assert all(parameter.grad is None for parameter in model.parameters() if parameter is not first)


def test_the_curves_of_an_audit_span_the_gains_and_their_parts_add_up() -> None:
    result = audit(objective(), untrained(), noise_scenes())
    assert [curve.output for curve in result.curves] == ["model", "ideal", "mixture"]
    for curve in result.curves:
        assert (curve.gain_db[0], curve.gain_db[-1]) == (-60, 20)
        assert curve.total == pytest.approx([a + b for a, b in zip(curve.present, curve.absent, strict=True)])


@pytest.mark.parametrize("weight", [0, 5])
def test_scenes_of_the_audit_are_short_and_of_both_kinds(make_config: Callable[..., Config], weight: float) -> None:
    config = make_config(loss={"amplitude_weight": weight})
    experiment = Experiment.build(config, torch.device("cpu"))
    scenes = audit_scenes(experiment, num_present=3, max_seconds=0.5)
    assert scenes.present.tolist().count(True) == 3
    assert scenes.present.tolist().count(False) == 2
    assert scenes.mixture.shape == scenes.target.shape == scenes.reference.shape == (5, 4000)
    # Cut where the target is: it is as loud there as in the whole scene, at least.
    whole = torch.cat([batch.target for batch in experiment.validation_batches()])[list(scenes.indices)]
    assert (scenes.target.square().mean(-1) >= whole.square().mean(-1)).all()
    assert torch.equal(audit_scenes(experiment, num_present=3, max_seconds=0.5).mixture, scenes.mixture)
    assert audit(experiment.objective, Gain(1.0), scenes).verdict == ("pass" if weight else "warn")


@pytest.mark.parametrize("name", ["demo.yaml", "hifi_tse.yaml"])
def test_the_configs_that_come_with_the_tool_pass(name: str) -> None:
    config = load_config(CONFIGS / name, ())
    assert audit(Objective(config.loss), untrained(), noise_scenes()).verdict == "pass"


SWEEP_DB = torch.cat([torch.arange(-60, 20.5, 0.5), torch.arange(-150, 151) / 50]).double().unique()
"""Every 0.5 dB, and every 0.02 dB around the target's level."""


@functools.cache
def swept() -> dict[str, Tensor]:
    """Measure each TP term, and the energy of TA outputs and mixtures, over the gain: (G,) and (A, G), float64.

    TP outputs are the targets with a trace of the rest, since the SI-SDR of an exact target answers to rounding only.
    """
    scenes = noise_scenes()
    target, mixture = scenes.target[scenes.present].double(), scenes.mixture[scenes.present].double()
    gain = 10 ** (SWEEP_DB[:, None] / 20)
    pairs = [(gain * (0.99 * t + 0.01 * m), t.expand(len(gain), -1)) for t, m in zip(target, mixture, strict=True)]
    terms = {"neg_si_sdr": lambda e, t: -si_sdr(e, t), "amplitude": amplitude_loss, "phase": phase_loss}
    curves = {name: torch.stack([term(*pair) for pair in pairs]).mean(0) for name, term in terms.items()}
    energy = scenes.mixture[~scenes.present].double().square().mean(-1, keepdim=True)
    return curves | {"mixture_energy": energy, "energy": energy * gain[:, 0] ** 2}


def lowest_db(loss: LossConfig) -> float:
    """Return the common gain of TP targets and TA mixtures at which the loss is lowest, in dB."""
    curves, absent = swept(), loss.absent
    if absent.kind == "relative":
        term = 10 * torch.log10(1 + curves["energy"] / (absent.relative_floor * curves["mixture_energy"]))
    elif absent.kind == "suppression":
        term = (10 * torch.log10(curves["energy"] / curves["mixture_energy"]) + absent.suppression_db).clamp(min=0)
    else:
        term = 10 * torch.log10(curves["energy"] + 1e-8)
        term = (term - absent.target_db).clamp(min=0) if absent.kind == "hinge" else term
    total = (
        (1 - loss.ta_weight) * curves["neg_si_sdr"]
        + loss.ta_weight * term.mean(0)
        + loss.amplitude_weight * curves["amplitude"]
        + loss.phase_weight * curves["phase"]
    )
    return SWEEP_DB[total.argmin()].item()


losses = st.builds(
    LossConfig,
    ta_weight=st.floats(0, 0.9),
    amplitude_weight=st.just(0.0) | st.floats(0.05, 60),
    phase_weight=st.just(0.0) | st.floats(0.01, 20),
    absent=st.fixed_dictionaries(
        {
            "kind": st.sampled_from(["hinge", "hinge", "suppression", "relative", "relative", "raw_db"]),
            "target_db": st.floats(-100, 0),
            "suppression_db": st.floats(5, 40),
            "relative_floor": st.floats(1e-5, 10),
        }
    ),
)


@given(loss=losses)
@example(loss=LossConfig())
@example(loss=LossConfig(ta_weight=0.2, amplitude_weight=7.6, phase_weight=0))
@example(loss=LossConfig(ta_weight=0.2, amplitude_weight=7.6, phase_weight=0, absent={"kind": "relative"}))
@example(loss=LossConfig(ta_weight=0, amplitude_weight=0.05))
@settings(max_examples=60, deadline=None)
def test_what_passes_has_its_minimum_at_the_target_level(loss: LossConfig) -> None:
    result = audit(Objective(loss), Oracle(), noise_scenes())
    if loss.absent.kind == "raw_db" and loss.ta_weight > 0.01:
        assert result.verdict == "fail"
    if result.verdict == "pass":
        assert abs(lowest_db(loss)) <= 1.0 + 1e-9


def test_the_sweep_finds_what_the_audit_warns_of() -> None:
    assert lowest_db(LossConfig(amplitude_weight=0, phase_weight=0)) < -5
    assert lowest_db(LossConfig(ta_weight=0.2, amplitude_weight=5, phase_weight=0)) == pytest.approx(-1.5, abs=0.02)
