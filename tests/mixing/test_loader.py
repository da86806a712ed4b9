"""Batches: what is in them follows from their number alone; loader processes come, fail and go in order."""

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
import soundfile as sf
import torch

from hifitse.config.schema import Config
from hifitse.corpus.corpus import load_corpus
from hifitse.errors import DataError, LoaderError
from hifitse.mixing.batch import MicroBatch, of_next_step, step_counts, step_indices
from hifitse.mixing.loader import training_batches, validation_batches
from tests.processes import children, parent_of, wait_for

MakeConfig = Callable[..., Config]
PARTS = ("mixture", "reference", "target", "present")


def joined(batches: list[MicroBatch]) -> dict[tuple[int, str], torch.Tensor]:
    """Put the micro-batches of each step together."""
    steps = sorted({batch.step for batch in batches})
    return {
        (step, part): torch.cat([getattr(batch, part) for batch in batches if batch.step == step])
        for step in steps
        for part in PARTS
    }


def train(config: Config, start: int = 0, stop: int = 4) -> dict[tuple[int, str], torch.Tensor]:
    return joined(list(training_batches(config, load_corpus(config).train, start, stop)))


def equal(a: dict[tuple[int, str], torch.Tensor], b: dict[tuple[int, str], torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_workers_and_micro_batches_change_nothing(make_config: MakeConfig) -> None:
    plain = train(make_config())
    for num_workers, size in [(0, 1), (0, 3), (0, 4), (1, 4), (3, 1)]:
        config = make_config(data={"num_workers": num_workers}, train={"micro_batch_size": size})
        assert equal(train(config), plain), (num_workers, size)


def test_starting_later_gives_the_same_steps(make_config: MakeConfig) -> None:
    config = make_config()
    plain = train(config)
    assert equal(train(config, 2), {key: value for key, value in plain.items() if key[0] >= 2})
    assert not train(config, 3, 3)


def test_seeds_differ_in_training_and_share_the_validation_scenes(make_config: MakeConfig) -> None:
    configs = [make_config(seed=seed) for seed in (0, 1)]
    pool = load_corpus(configs[0]).held_out
    assert not equal(train(configs[0]), train(configs[1]))
    validations = [list(validation_batches(config, pool)) for config in configs]
    assert equal(joined(validations[0]), joined(validations[1]))


def test_counts_are_those_of_the_scenes(make_config: MakeConfig) -> None:
    config = make_config(train={"batch_size": 5, "micro_batch_size": 2})
    steps = train(config, 0, 6)
    for step in range(6):
        present = steps[step, "present"]
        assert step_counts(config, step) == (present.sum(), (~present).sum())
        silent = steps[step, "target"].abs().amax(dim=1) == 0
        assert torch.equal(silent, ~present)
    assert step_counts(config, 0) == (5, 0)
    assert sum(step_counts(config, step).num_absent for step in range(2, 12)) == 15


def test_micro_batches_say_where_they_belong(make_config: MakeConfig) -> None:
    config = make_config(train={"batch_size": 5, "micro_batch_size": 2})
    batches = list(training_batches(config, load_corpus(config).train, 3, 5))
    assert [(batch.step, batch.number, batch.is_last) for batch in batches] == [
        (step, number, number == 2) for step in (3, 4) for number in range(3)
    ]
    assert [batch.indices for batch in batches[:3]] == [(15, 16), (17, 18), (19,)]
    assert list(step_indices(3, 5)) == [15, 16, 17, 18, 19]
    batch = batches[2]
    assert batch.mixture.shape == batch.target.shape == (1, config.audio.mixture_samples)
    assert batch.reference.shape == (1, config.audio.reference_samples)
    assert {getattr(batch, name).dtype for name in PARTS[:3]} == {torch.float32}
    assert batch.to("meta").target.device.type == "meta" and batch.to("cpu").indices == (19,)


def test_the_validation_is_in_exact_proportion_and_clean(make_config: MakeConfig) -> None:
    config = make_config(validation={"num_scenes": 15, "absent_ratio": 0.2, "batch_size": 4})
    batches = list(validation_batches(config, load_corpus(config).held_out))
    assert [len(batch.indices) for batch in batches] == [4, 4, 4, 3]
    assert [batch.is_last for batch in batches] == [False, False, False, True]
    assert sum(index for batch in batches for index in batch.indices) == sum(range(15))
    assert sum(int(batch.present.sum()) for batch in batches) == 12
    assert all(batch.reference.abs().amax(dim=1).min() > 0 for batch in batches)


def test_a_validation_knows_its_interferers_and_what_its_scenes_are_like(make_config: MakeConfig) -> None:
    config = make_config(mixing={"noise_probability": 0.5, "rir_probability": 0.0})
    corpus = load_corpus(config)
    for batch in validation_batches(config, corpus.held_out):
        assert batch.interferers is not None and len(batch.facts) == len(batch.indices)
        for i, facts in enumerate(batch.facts):
            heard = batch.interferers[i].any(-1)
            assert heard.sum() == facts.num_interferers and bool(heard[0])
            assert (facts.sir_db is not None) == bool(batch.present[i])
            assert 0.3 < facts.reference_seconds <= config.audio.reference_seconds
            if facts.snr_db is None:
                speech = batch.target[i] + batch.interferers[i].sum(0)
                assert torch.allclose(speech, batch.mixture[i], atol=1e-5)
        assert batch.to("meta").interferers.device.type == "meta"  # type: ignore[union-attr]
    assert all(b.interferers is None and not b.facts for b in training_batches(config, corpus.train, 0, 2))


def test_what_is_for_measuring_comes_from_a_loader_process_as_it_is(make_config: MakeConfig) -> None:
    here, there = (
        list(validation_batches(config, load_corpus(config).held_out))
        for config in (make_config(), make_config(data={"num_workers": 2}))
    )
    assert [batch.facts for batch in here] == [batch.facts for batch in there]
    for ours, theirs in zip(here, there, strict=True):
        assert ours.interferers is not None and theirs.interferers is not None
        assert torch.equal(ours.interferers, theirs.interferers)


def test_scenes_of_training_speakers_are_fixed_and_of_the_training_pool(make_config: MakeConfig) -> None:
    sections = {"data": {"split": "speaker", "held_out_fraction": 0.5}, "mixing": {"num_interferers": (1, 1)}}
    config = make_config(**sections)
    corpus = load_corpus(config)
    batches = list(validation_batches(config, corpus.train, of_train_speakers=True))
    assert [len(batch.indices) for batch in batches] == [4, 1]
    trained = {speaker.name for speaker in corpus.train.speakers}
    assert {facts.speaker for batch in batches for facts in batch.facts} <= trained
    other = list(validation_batches(make_config(seed=3, **sections), corpus.train, of_train_speakers=True))
    assert torch.equal(batches[0].reference, other[0].reference)
    none = make_config(validation={"num_train_scenes": 0}, data={"num_workers": 1})
    assert not list(validation_batches(none, corpus.train, of_train_speakers=True))


def test_the_loader_leaves_the_global_generator_alone(make_config: MakeConfig) -> None:
    before = torch.get_rng_state()
    train(make_config(data={"num_workers": 1}))
    assert torch.equal(torch.get_rng_state(), before)


def loaders() -> list[int]:
    """Return the loader processes of this process, without the one that they are forked from."""
    return [process for below in children(os.getpid()) for process in children(below)]


def test_abandoned_batches_leave_no_process(make_config: MakeConfig) -> None:
    config = make_config(data={"num_workers": 2})
    batches = training_batches(config, load_corpus(config).train, 0, 10**6)
    next(batches)
    assert len(loaders()) == 2
    batches.close()
    assert wait_for(lambda: not loaders(), 10)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_error_arrives_as_it_was_raised(make_config: MakeConfig, tmp_path: Path, num_workers: int) -> None:
    for speaker in range(4):
        for number in range(4):
            path = tmp_path / "speech" / f"s{speaker}" / f"{number}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            sf.write(path, [float("nan")] * 32000, 8000, subtype="FLOAT")
    config = make_config(data={"speech": tmp_path / "speech", "num_workers": num_workers})
    with pytest.raises(DataError) as caught:
        list(training_batches(config, load_corpus(config).train, 0, 2))
    assert type(caught.value) is DataError
    assert str(caught.value).startswith(str(tmp_path)) and "not finite" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.fixture
def batches(make_config: MakeConfig) -> Iterator[Generator[MicroBatch]]:
    """Batches without end from two loader processes, which have begun."""
    config = make_config(data={"num_workers": 2, "timeout_seconds": 3})
    generator = training_batches(config, load_corpus(config).train, 0, 10**6)
    # What they are forked from takes longer to start than these may.
    train(make_config(data={"num_workers": 1}), 0, 1)
    next(generator)
    yield generator
    generator.close()


@pytest.mark.parametrize(
    ("victim", "number", "said"),
    [
        (
            lambda: loaders()[0],
            signal.SIGKILL,
            r"a loader process died \(SIGKILL\); if memory ran out, lower data",
        ),
        (lambda: loaders()[0], signal.SIGSEGV, r"a loader process died \(SIGSEGV\)"),
        (lambda: parent_of(loaders()[0]), signal.SIGKILL, r"a loader process died \(all of them have ended\)"),
        (lambda: loaders()[0], signal.SIGSTOP, r"no scenes came .* in 3 s \(data.timeout_seconds\): it is stopped"),
    ],
    ids=["killed", "crashed", "all killed", "stopped"],
)
def test_what_goes_wrong_with_a_loader_process_is_an_error_for_people_and_new_ones_can_be_started(
    make_config: MakeConfig,
    batches: Generator[MicroBatch],
    victim: Callable[[], int],
    number: signal.Signals,
    said: str,
) -> None:
    before = loaders()
    os.kill(victim(), number)
    started = time.monotonic()
    with pytest.raises(LoaderError, match=said):
        # What was rendered ahead arrives still.
        for _ in batches:
            pass
    assert time.monotonic() - started < 15
    assert wait_for(lambda: not set(before) & set(loaders()), 5), "a stopped one is ended, too"
    config = make_config()
    assert equal(train(make_config(data={"num_workers": 2})), train(config))


def test_a_death_that_others_have_noticed_first_is_the_same_error(
    make_config: MakeConfig, batches: Generator[MicroBatch]
) -> None:
    os.kill(parent_of(loaders()[0]), signal.SIGKILL)
    # A validation, for one, which starts another process to fork from.
    assert wait_for(lambda: not loaders())
    train(make_config(data={"num_workers": 1}), 0, 1)
    with pytest.raises(LoaderError, match="a loader process died"):
        for _ in batches:
            pass


def test_nothing_is_kept_in_shared_memory(batches: Generator[MicroBatch]) -> None:
    next(batches)
    for process in [os.getpid(), *children(os.getpid()), *loaders()]:
        # Semaphores, of other tests in this process, hold no data.
        assert not re.search(r"/dev/shm/(?!sem\.)", Path(f"/proc/{process}/maps").read_text())


def test_signals_to_the_whole_group_reach_only_the_training_process(tmp_path: Path, demo_corpus: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(f"""
        import signal, sys
        from hifitse.mixing.loader import training_batches
        from hifitse.config.schema import Config
        from hifitse.corpus.corpus import load_corpus

        if __name__ == "__main__":
            config = Config(
                audio=dict(sample_rate=8000, mixture_seconds=1, reference_seconds=1),
                data=dict(speech={str(demo_corpus / "speech")!r}, num_workers=2),
                mixing=dict(num_interferers=(1, 1)),
                curriculum=[dict(name="tp", absent_ratio=0)],
                model=dict(kind="compact"),
                train=dict(micro_batch_size=2),
            )
            received = []
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, lambda number, frame: received.append(number))
            batches = training_batches(config, load_corpus(config).train, 0, 10**6)
            after = 0
            for batch in batches:
                if batch.step == 0 and batch.number == 0:
                    print("ready", flush=True)
                after += len(received) == 2
                if after == 60:  # more than was rendered ahead
                    break
            batches.close()
            print(sorted(received))
        """)
    )
    process = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    os.killpg(process.pid, signal.SIGINT)
    os.killpg(process.pid, signal.SIGTERM)
    # Workers hold the pipes too: their end shows that the last of them is gone.
    output, errors = process.communicate(timeout=60)
    assert (output, errors, process.returncode) == ("[2, 15]\n", "", 0)


def test_a_step_takes_no_batch_of_the_next_one(make_config: MakeConfig) -> None:
    config = make_config(train={"batch_size": 4, "micro_batch_size": 2})
    batches = training_batches(config, load_corpus(config).train, 0, 2)
    assert [batch.step for batch in of_next_step(batches)] == [0, 0]
    assert next(batches).step == 1
