"""Loader processes render micro-batches ahead of the training; how many there are changes nothing but speed."""

import multiprocessing
import signal
import warnings
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from multiprocessing import forkserver, resource_tracker
from multiprocessing.context import BaseContext

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from hifitse.audio.cache import DecodedRecordings
from hifitse.config.schema import Config
from hifitse.corpus.corpus import Pool
from hifitse.distributed.ranks import Ranks
from hifitse.distributed.signals import SIGNALS
from hifitse.errors import DataError, HifitseError
from hifitse.mixing.batch import MicroBatch, step_indices
from hifitse.mixing.curriculum import SceneSettings, is_absent, settings_at, validation_settings
from hifitse.mixing.rendering import render_index

ALONE = Ranks()
TRAIN_PURPOSE = "train"
VALIDATION_PURPOSE = "validation"
VALIDATION_SEED = 0
"""Not config.seed: every run is validated on the same scenes."""


def training_batches(
    config: Config, pool: Pool, start_step: int, stop_step: int, ranks: Ranks = ALONE, *, pinned: bool = False
) -> Generator[MicroBatch]:
    """Yield this rank's micro-batches of steps start_step, ..., stop_step - 1, in order.

    Closing the generator ends its loader processes.

    Args:
        pinned: put them into page-locked memory, for a GPU.

    Raises:
        HifitseError: a scene cannot be rendered, or a loader process died.
    """
    per_step = -(-len(ranks.shard(range(config.train.batch_size))) // config.train.micro_batch_size)
    items = _Items(range(start_step, stop_step), range(per_step))
    return _batches(_TrainingScenes(config, pool, ranks), items, config, pinned)


def validation_batches(
    config: Config, pool: Pool, ranks: Ranks = ALONE, *, pinned: bool = False
) -> Generator[MicroBatch]:
    """Yield the batches of the validation: scenes 0, ..., validation.num_scenes - 1, whatever the seed.

    Ranks take turns, batch by batch: each batch is the same as in a single process, and so is what comes of it.

    Raises:
        HifitseError: a scene cannot be rendered, or a loader process died.
    """
    items = _Items(range(1), range(ranks.rank, num_validation_batches(config), ranks.size))
    return _batches(_ValidationScenes(config, pool, ranks), items, config, pinned)


def num_validation_batches(config: Config) -> int:
    """Return how many batches the validation has, over all ranks."""
    return -(-config.validation.num_scenes // config.validation.batch_size)


Item = tuple[int, int]
"""Step and number of the micro-batch."""


@dataclass(frozen=True)
class _Failure:
    """An error on its way to the consumer; the loader would wrap it in a traceback."""

    kind: type[HifitseError]
    message: str


class _Scenes(Dataset[MicroBatch | _Failure]):
    """Renders micro-batches by (step, number); pickled once into each loader process."""

    def __init__(self, config: Config, pool: Pool, ranks: Ranks) -> None:
        self.config = config
        self.pool = pool
        # Without its connections, which no loader process can have.
        self.ranks = Ranks(ranks.rank, ranks.size)
        self.files = DecodedRecordings(config.data.cache_megabytes)

    def scenes_of(self, item: Item) -> tuple[int, str, SceneSettings, range, bool]:
        """Return seed, purpose, settings, scene indices, and whether the item is the last of its step."""
        raise NotImplementedError

    def __getitem__(self, item: Item) -> MicroBatch | _Failure:
        seed, purpose, settings, indices, is_last = self.scenes_of(item)
        config = self.config
        try:
            rendered = [
                render_index(seed, purpose, index, settings, self.pool, config.audio, config.mixing, self.files)[1]
                for index in indices
            ]
        except HifitseError as error:
            return _Failure(type(error), str(error))
        except (ArithmeticError, LookupError, MemoryError, OSError, RuntimeError, TypeError, ValueError) as error:
            # Whatever an odd file makes a library say: the training saves its steps before it ends.
            return _Failure(DataError, f"scenes {indices.start} to {indices.stop - 1} cannot be rendered: {error!r}")
        return MicroBatch(
            step=item[0],
            number=item[1],
            is_last=is_last,
            indices=tuple(indices),
            mixture=torch.from_numpy(np.stack([scene.mixture for scene in rendered])),
            reference=torch.from_numpy(np.stack([scene.reference for scene in rendered])),
            target=torch.from_numpy(np.stack([scene.target for scene in rendered])),
            present=torch.tensor([not is_absent(index, settings.absent_ratio) for index in indices]),
        )


class _TrainingScenes(_Scenes):
    def scenes_of(self, item: Item) -> tuple[int, str, SceneSettings, range, bool]:
        step, number = item
        train = self.config.train
        share = self.ranks.shard(step_indices(step, train.batch_size))
        indices, is_last = _slice(share, number, train.micro_batch_size)
        return self.config.seed, TRAIN_PURPOSE, settings_at(self.config, step), indices, is_last


class _ValidationScenes(_Scenes):
    def scenes_of(self, item: Item) -> tuple[int, str, SceneSettings, range, bool]:
        validation = self.config.validation
        indices, is_last = _slice(range(validation.num_scenes), item[1], validation.batch_size)
        return VALIDATION_SEED, VALIDATION_PURPOSE, validation_settings(self.config), indices, is_last


def _slice(indices: range, number: int, size: int) -> tuple[range, bool]:
    part = indices[number * size : (number + 1) * size]
    return part, part.stop == indices.stop


class _Items(Sampler[Item]):
    """(step, number) in order; a list of them would be millions long."""

    def __init__(self, steps: range, numbers: range) -> None:
        self._steps, self._numbers = steps, numbers

    def __iter__(self) -> Iterator[Item]:
        return ((step, number) for step in self._steps for number in self._numbers)

    def __len__(self) -> int:
        return len(self._steps) * len(self._numbers)


def _batches(scenes: _Scenes, items: _Items, config: Config, pinned: bool) -> Generator[MicroBatch]:
    num_workers = min(config.data.num_workers, len(items))
    with warnings.catch_warnings():
        # The loader counts the cores and suggests fewer workers; data.num_workers is the user's to choose.
        warnings.filterwarnings("ignore", message="This DataLoader will create", category=UserWarning)
        loader = DataLoader(
            scenes,
            batch_size=None,
            sampler=items,
            num_workers=num_workers,
            prefetch_factor=config.data.prefetch if num_workers else None,
            multiprocessing_context=_forkserver() if num_workers else None,
            pin_memory=pinned,
            # Its own, for it draws from it: the global one would depend on how often a loader was started.
            generator=torch.Generator(),
        )
        iterator = iter(loader)
    try:
        while True:
            try:
                batch = next(iterator, None)
            except (RuntimeError, OSError, EOFError) as error:
                # What a killed worker leads to depends on where its pipe was; rendering errors arrive as _Failure.
                if isinstance(error, RuntimeError) and "DataLoader worker" not in str(error):
                    raise
                reason = next(iter(str(error).splitlines()), type(error).__name__)
                raise DataError(
                    f"a loader process died ({reason}); if memory ran out, lower data.num_workers or data.prefetch, "
                    "or enlarge /dev/shm"
                ) from error
            if batch is None:
                return
            if isinstance(batch, _Failure):
                raise batch.kind(batch.message)
            yield batch
    finally:
        # Dropping the only reference ends the workers now, also when the consumer stops early.
        del iterator


def _forkserver() -> BaseContext:
    """Return the context in which workers start: forked from a clean process that has imported this module.

    A fork of the training process would copy its threads' locks. Workers never see the signals that
    terminals and batch systems send to the whole group: the training process decides when they end.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    resource_tracker.ensure_running()  # on its own, because it unblocks the signals
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    return context
