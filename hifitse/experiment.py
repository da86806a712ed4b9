"""An experiment: the parts that train, validate and smoke share, each built once from the config."""

import contextlib
import getpass
import os
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import torch

from hifitse.config.schema import Config
from hifitse.corpus.corpus import Corpus, load_corpus
from hifitse.corpus.scan import Progress
from hifitse.distributed.ranks import Ranks, connect
from hifitse.errors import UsageError
from hifitse.losses import Objective
from hifitse.mixing.batch import MicroBatch
from hifitse.mixing.loader import ALONE, TEST_PURPOSE, measured_batches, training_batches, validation_batches


@dataclass(frozen=True)
class Experiment:
    config: Config
    device: torch.device
    objective: Objective
    """The one objective: training and validation compute their loss with this very object."""
    corpus: Corpus
    ranks: Ranks = ALONE
    """The processes that train together."""

    @classmethod
    def build(cls, config: Config, device: torch.device, progress: Progress | None = None) -> "Experiment":
        """Load the corpus, make the objective, and join the other ranks if there are any.

        Raises:
            UsageError: there are more ranks than GPUs, or than scenes in a step.
        """
        try:
            getpass.getuser()
        except (KeyError, OSError):
            # Torch names a cache folder after the user, and cannot without a name; containers may know none.
            os.environ["LOGNAME"] = str(os.getuid())
        ranks, device = connect(device)
        if config.train.batch_size < ranks.size:
            raise UsageError(f"train.batch_size {config.train.batch_size} is below the number of ranks, {ranks.size}")
        if device.type == "cuda":
            torch.cuda.set_device(device)
            # TF32: ten bits of mantissa in matrix products and convolutions that are float32, LSTMs among them.
            torch.set_float32_matmul_precision("high")
        if config.train.deterministic:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
            torch.use_deterministic_algorithms(True)
        if config.train.cpu_threads is not None:
            torch.set_num_threads(config.train.cpu_threads)
        # One rank reads the headers of all files, and the others get what it found.
        corpus = ranks.on_main(lambda: load_corpus(config, progress))
        return cls(config, device, Objective(config.loss), corpus, ranks)

    @property
    def environment(self) -> dict[str, Any]:
        """What an exact resume has to share: version of torch, device, ranks, and what sums are split by."""
        device = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else self.device.type
        shared = {"torch": str(torch.__version__), "device": device, "ranks": self.ranks.size}
        if self.device.type == "cpu":
            shared["train.cpu_threads"] = torch.get_num_threads()
        if self.config.train.compile:
            shared["train.compile"] = True
        return shared | {"train.micro_batch_size": self.config.train.micro_batch_size}

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """Return the context in which the model runs."""
        precision = self.config.train.precision
        if precision == "bfloat16" or (precision == "auto" and self.device.type == "cuda"):
            return torch.autocast(self.device.type, torch.bfloat16)
        return contextlib.nullcontext()

    def training_batches(self, start_step: int, stop_step: int) -> Generator[MicroBatch]:
        pinned = self.device.type == "cuda"
        return training_batches(self.config, self.corpus.train, start_step, stop_step, self.ranks, pinned=pinned)

    def validation_batches(self, of_train_speakers: bool = False) -> Generator[MicroBatch]:
        pool = self.corpus.train if of_train_speakers else self.corpus.held_out
        pinned = self.device.type == "cuda"
        return validation_batches(self.config, pool, self.ranks, of_train_speakers=of_train_speakers, pinned=pinned)

    def test_batches(self) -> Generator[MicroBatch]:
        """Return the batches of the test: scenes 0, ..., test.num_scenes - 1, validation.batch_size at a time.

        Raises:
            ConfigError: there is no test set.
        """
        pool, test, pinned = self.corpus.require_test(), self.config.test_set, self.device.type == "cuda"
        return measured_batches(
            self.config, pool, TEST_PURPOSE, test.num_scenes, test.absent_ratio, self.ranks, pinned=pinned
        )


def pick_device(name: str) -> torch.device:
    """Return the device that ``--device`` names; ``auto`` is the GPU if there is one.

    Raises:
        UsageError: the name is unknown, or this machine has no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"--device {name}: unknown; use auto, cpu, cuda or cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"--device {name}: not supported; use auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(f"--device {name}: this machine has {torch.cuda.device_count()} GPUs; use auto or cpu")
    return device
