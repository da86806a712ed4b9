"""Loader processes render micro-batches ahead of the training; how many there are changes nothing but speed."""

import contextlib
from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
import torch

from hifitse.audio.cache import DecodedRecordings
from hifitse.audio.levels import active_seconds
from hifitse.config.schema import Config
from hifitse.corpus.corpus import Pool
from hifitse.distributed.ranks import Ranks
from hifitse.errors import DataError, HifitseError
from hifitse.mixing.batch import MicroBatch, SceneFacts, step_indices
from hifitse.mixing.curriculum import SceneSettings, held_out_settings, is_absent, settings_at
from hifitse.mixing.fork_server import Failure, Item, Job
from hifitse.mixing.rendering import Rendered, render_index
from hifitse.mixing.scenes import Scene
from hifitse.mixing.workers import render

ALONE = Ranks()
TRAIN_PURPOSE = "train"
VALIDATION_PURPOSE = "validation"
TRAIN_SPEAKERS_PURPOSE = "validation of training speakers"
TEST_PURPOSE = "test"
VALIDATION_SEED = 0
"""Not config.seed: every run is validated, and tested, on the same scenes."""


def training_batches(
    config: Config, pool: Pool, start_step: int, stop_step: int, ranks: Ranks = ALONE, *, pinned: bool = False
) -> Generator[MicroBatch]:
    """Yield this rank's micro-batches of steps start_step, ..., stop_step - 1, in order.

    Closing the generator ends its loader processes.

    Args:
        pinned: put them into page-locked memory, for a GPU.

    Raises:
        HifitseError: a scene cannot be rendered.
        LoaderError: a loader process died, or is stuck.
    """
    per_step = -(-len(ranks.shard(range(config.train.batch_size))) // _micro_batch_size(config))
    items = _Items(range(start_step, stop_step), range(per_step))
    return _batches(_TrainingScenes(config, pool, ranks), items, config, pinned)


def validation_batches(
    config: Config, pool: Pool, ranks: Ranks = ALONE, *, of_train_speakers: bool = False, pinned: bool = False
) -> Generator[MicroBatch]:
    """Yield the batches of the validation: scenes 0, ..., validation.num_scenes - 1.

    Args:
        of_train_speakers: the other fixed scenes, validation.num_train_scenes of the training pool.

    Raises:
        HifitseError, LoaderError: as `measured_batches`.
    """
    purpose = TRAIN_SPEAKERS_PURPOSE if of_train_speakers else VALIDATION_PURPOSE
    num_scenes = num_validation_scenes(config, of_train_speakers)
    ratio = config.validation.absent_ratio
    return measured_batches(config, pool, purpose, num_scenes, ratio, ranks, pinned=pinned)


def measured_batches(
    config: Config,
    pool: Pool,
    purpose: str,
    num_scenes: int,
    absent_ratio: float,
    ranks: Ranks = ALONE,
    *,
    pinned: bool = False,
) -> Generator[MicroBatch]:
    """Yield batches of validation.batch_size fixed scenes, 0, ..., num_scenes - 1 of a purpose, whatever the seed.

    Ranks take turns, batch by batch: each batch is the same as in a single process, and so is what comes of it.

    Raises:
        HifitseError: a scene cannot be rendered.
        LoaderError: a loader process died, or is stuck.
    """
    num_batches = -(-num_scenes // config.validation.batch_size)
    scenes = _MeasuredScenes(config, pool, ranks, purpose, num_scenes, absent_ratio)
    return _batches(scenes, _Items(range(1), range(ranks.rank, num_batches, ranks.size)), config, pinned)


def num_validation_batches(config: Config, of_train_speakers: bool = False) -> int:
    """Return how many batches `validation_batches` yields, over all ranks."""
    return -(-num_validation_scenes(config, of_train_speakers) // config.validation.batch_size)


def num_validation_scenes(config: Config, of_train_speakers: bool = False) -> int:
    """Return how many scenes they hold."""
    return config.validation.num_train_scenes if of_train_speakers else config.validation.num_scenes


class _Scenes:
    """Renders micro-batches by (step, number); pickled once into each loader process."""

    is_measured = False
    """Whether the scenes are for measuring: with their interferers, and what is known of them."""

    def __init__(self, config: Config, pool: Pool, ranks: Ranks) -> None:
        self.config = config
        self.pool = pool
        # Without its connections, which no loader process can have.
        self.ranks = Ranks(ranks.rank, ranks.size)
        self.files = DecodedRecordings(config.data.cache_megabytes)

    def scenes_of(self, item: Item) -> tuple[int, str, SceneSettings, range, bool]:
        """Return seed, purpose, settings, scene indices, and whether the item is the last of its step."""
        raise NotImplementedError

    def __getitem__(self, item: Item) -> MicroBatch | Failure:
        seed, purpose, settings, indices, is_last = self.scenes_of(item)
        config = self.config
        try:
            rendered = [
                render_index(seed, purpose, index, settings, self.pool, config.audio, config.mixing, self.files)
                for index in indices
            ]
        except HifitseError as error:
            return Failure(type(error), str(error))
        except Exception as error:
            # Whatever an odd file makes a library say: the training saves its steps before it ends.
            return Failure(DataError, f"scenes {indices.start} to {indices.stop - 1} cannot be rendered: {error!r}")
        return MicroBatch(
            step=item[0],
            number=item[1],
            is_last=is_last,
            indices=tuple(indices),
            mixture=torch.from_numpy(np.stack([heard.mixture for _, heard in rendered])),
            reference=torch.from_numpy(np.stack([heard.reference for _, heard in rendered])),
            target=torch.from_numpy(np.stack([heard.target for _, heard in rendered])),
            present=torch.tensor([not is_absent(index, settings.absent_ratio) for index in indices]),
            interferers=_interferers(rendered) if self.is_measured else None,
            facts=tuple(_facts(*pair, config.audio.sample_rate) for pair in rendered) if self.is_measured else (),
        )


class _TrainingScenes(_Scenes):
    def scenes_of(self, item: Item) -> tuple[int, str, SceneSettings, range, bool]:
        step, number = item
        train = self.config.train
        share = self.ranks.shard(step_indices(step, train.batch_size))
        indices, is_last = _slice(share, number, _micro_batch_size(self.config))
        return self.config.seed, TRAIN_PURPOSE, settings_at(self.config, step), indices, is_last


class _MeasuredScenes(_Scenes):
    is_measured = True

    def __init__(
        self, config: Config, pool: Pool, ranks: Ranks, purpose: str, num_scenes: int, absent_ratio: float
    ) -> None:
        super().__init__(config, pool, ranks)
        self.purpose = purpose
        self.indices = range(num_scenes)
        self.settings = held_out_settings(config, absent_ratio)

    def scenes_of(self, item: Item) -> tuple[int, str, SceneSettings, range, bool]:
        indices, is_last = _slice(self.indices, item[1], self.config.validation.batch_size)
        return VALIDATION_SEED, self.purpose, self.settings, indices, is_last


def _interferers(rendered: list[tuple[Scene, Rendered]]) -> torch.Tensor:
    most = max(len(scene.interferers) for scene, _ in rendered)
    parts = np.zeros((len(rendered), most, len(rendered[0][1].mixture)), np.float32)
    for part, (scene, heard) in zip(parts, rendered, strict=True):
        voices = heard.voices[1:] if scene.present else heard.voices
        part[: len(voices)] = voices
    return torch.from_numpy(parts)


def _facts(scene: Scene, heard: Rendered, sample_rate: int) -> SceneFacts:
    noisy = scene.noise is not None and heard.noise is not None and bool(heard.noise.any())
    return SceneFacts(
        speaker=scene.speaker,
        num_interferers=len(scene.interferers),
        sir_db=round(min(interferer.sir_db for interferer in scene.interferers), 2) if scene.present else None,
        snr_db=round(scene.noise.snr_db, 2) if noisy and scene.noise else None,
        reference_seconds=round(active_seconds(heard.reference, sample_rate), 2),
    )


def _micro_batch_size(config: Config) -> int:
    size = config.train.micro_batch_size
    assert size != "auto", "a training session has chosen it"
    return size


def _slice(indices: range, number: int, size: int) -> tuple[range, bool]:
    part = indices[number * size : (number + 1) * size]
    return part, part.stop == indices.stop


@dataclass(frozen=True)
class _Items:
    """(step, number) in order; a list of them would be millions long."""

    steps: range
    numbers: range

    def __len__(self) -> int:
        return len(self.steps) * len(self.numbers)

    def __getitem__(self, turn: int) -> Item:
        step, number = divmod(turn, len(self.numbers))
        return self.steps[step], self.numbers[number]


def _batches(scenes: _Scenes, items: _Items, config: Config, pinned: bool) -> Generator[MicroBatch]:
    data = config.data
    if num_workers := min(data.num_workers, len(items)):
        rendered = render(Job(scenes, items, data.prefetch), num_workers, data.timeout_seconds, pinned=pinned)
    else:
        rendered = _rendered_here(scenes, items, pinned)
    with contextlib.closing(rendered):
        for batch in rendered:
            if isinstance(batch, Failure):
                raise batch.kind(batch.message)
            yield batch


def _rendered_here(scenes: _Scenes, items: _Items, pinned: bool) -> Generator[MicroBatch | Failure]:
    for turn in range(len(items)):
        batch = scenes[items[turn]]
        yield batch.pin_memory() if pinned and isinstance(batch, MicroBatch) else batch
