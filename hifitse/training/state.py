"""What a training consists of at a step: model weights, EMA weights, optimizer; and its checkpoint form."""

import contextlib
import copy
import logging
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn

from hifitse.checkpoint.file import Checkpoint, Header
from hifitse.checkpoint.weights import load_weights, require_state
from hifitse.config.files import to_recorded
from hifitse.config.schema import Config
from hifitse.errors import ConfigError, HifitseError
from hifitse.experiment import Experiment
from hifitse.models.build import build_model
from hifitse.optimizer import Optimizer, build_optimizer
from hifitse.seeding import derive
from hifitse.training.gradient_guard import GradientGuard
from hifitse.training.window import Window


@dataclass
class TrainState:
    """Everything that a step changes. There is no RNG state: every draw is a function of the step."""

    model: nn.Module
    ema: nn.Module
    optimizer: Optimizer
    forward: Callable[[Tensor, Tensor], Tensor]
    """The model as the steps call it: itself, or compiled."""
    step: int = 0
    """Completed steps."""
    optimizer_reset_step: int = 0
    """Step at which the optimizer last got fresh moments."""
    parent: str | None = None
    """Digest of the checkpoint that this training continues."""
    gradient_guard: GradientGuard = field(default_factory=GradientGuard)
    """The recent gradient norms."""
    window: Window = field(default_factory=Window)
    """The steps since the last row of the metrics log."""
    num_rollbacks: int = 0
    """How often a guard has rolled this branch back."""
    learning_rate_factor: float = 1.0
    """What those rollbacks have cut the learning rate to."""


def new_state(config: Config, device: torch.device) -> TrainState:
    """Return the state at step 0: weights drawn from the seed, on the CPU, whatever the device."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(config.seed, "weights"))
        model = build_model(config.model, config.audio.sample_rate)
    # Copied before the move: each module then lays out its own LSTM weights for cuDNN.
    ema = copy.deepcopy(model).eval().requires_grad_(False).to(device)
    model.train().to(device)
    forward = _compiled(model) if config.train.compile else model
    return TrainState(model, ema, build_optimizer(model, config.train), forward)


def _compiled(model: nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
    # A graph for each shape: with one for all, the numbers of a step would depend on which shapes came before it.
    compiled = torch.compile(model, dynamic=False)
    # It says so of the transforms' spectra, which it leaves to torch; and that there is no GPU.
    warnings.filterwarnings("ignore", message="Torchinductor does not support code generation for complex")
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    return cast(Callable[[Tensor, Tensor], Tensor], compiled)


@contextlib.contextmanager
def compiling() -> Iterator[None]:
    """Say what to do where a network cannot be compiled, which the first passes show, forward or backward.

    Raises:
        HifitseError: it cannot.
    """
    try:
        yield
    except RuntimeError as error:
        from torch._dynamo.exc import TorchDynamoException  # takes a second, which an error has

        if not isinstance(error, TorchDynamoException):
            raise
        raise HifitseError(
            f"train.compile: the network cannot be compiled ({str(error).splitlines()[0]}); "
            "on a CPU that needs a C++ compiler (g++), on a GPU Triton; or set train.compile=false"
        ) from error


def to_tensors(state: TrainState) -> dict[str, Tensor]:
    """Return all tensors of a state by checkpoint name."""
    tensors = {f"model/{name}": tensor for name, tensor in state.model.state_dict().items()}
    tensors |= {f"ema/{name}": tensor for name, tensor in state.ema.state_dict().items()}
    for name, parameter in state.model.named_parameters():
        for key, value in state.optimizer.state.get(parameter, {}).items():
            tensors[f"optimizer/{name}/{key}"] = value
    return tensors


def header(state: TrainState, experiment: Experiment) -> Header:
    """Return what the checkpoint of a state says about itself."""
    return Header(
        step=state.step,
        config=to_recorded(experiment.config),
        data_fingerprint=experiment.corpus.fingerprint,
        environment=experiment.environment,
        parent=state.parent,
        optimizer_reset_step=state.optimizer_reset_step,
        watch=state.gradient_guard.to_json(),
        window=state.window.to_json(),
        num_rollbacks=state.num_rollbacks,
        learning_rate_factor=state.learning_rate_factor,
    )


def from_checkpoint(
    checkpoint: Checkpoint, config: Config, device: torch.device, *, reset_optimizer: bool = False
) -> TrainState:
    """Return the state that a checkpoint holds.

    Args:
        reset_optimizer: start with fresh moments; the learning rate re-warms from this step.

    Raises:
        CheckpointError: the checkpoint's tensors are not those of the configured model.
        ConfigError: its moments are not those of the configured optimizer.
    """
    require_state(checkpoint, config)
    state = new_state(config, device)
    state.step, state.parent = checkpoint.header.step, checkpoint.digest
    state.num_rollbacks = checkpoint.header.num_rollbacks
    state.learning_rate_factor = checkpoint.header.learning_rate_factor
    state.gradient_guard = GradientGuard.from_json(checkpoint.header.watch)
    state.window = Window.from_json(checkpoint.header.window)
    load_weights(state.model, checkpoint, "model/")
    load_weights(state.ema, checkpoint, "ema/")
    if reset_optimizer:
        state.optimizer_reset_step = state.step
        return state
    state.optimizer_reset_step = checkpoint.header.optimizer_reset_step
    for name, parameter in state.model.named_parameters():
        prefix = f"optimizer/{name}/"
        moments = {key.removeprefix(prefix): t for key, t in checkpoint.tensors.items() if key.startswith(prefix)}
        if moments:
            if moments.keys() != set(state.optimizer.moments_of(parameter)):
                raise ConfigError(
                    f"train.optimizer: the moments in the checkpoint of step {state.step} are of another optimizer "
                    f"({name} first); give the old train.optimizer back, or add --reset-optimizer"
                )
            # AdamW keeps its step counter on the CPU, and its moments where the parameter is.
            state.optimizer.state[parameter] = {
                key: t.clone() if key == "step" else t.to(device, copy=True) for key, t in moments.items()
            }
    return state


@torch.no_grad()
def update_ema(ema: nn.Module, model: nn.Module, decay: float) -> None:
    """Move the EMA weights towards the weights: ``ema = decay ema + (1 - decay) weights``."""
    torch._foreach_lerp_(list(ema.parameters()), list(model.parameters()), 1 - decay)
