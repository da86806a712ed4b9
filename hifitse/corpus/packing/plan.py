"""Convert the configured corpora into what reads fastest: WAV files at the model's rate (benchmarks/stores.py).

A pack that was stopped goes on where it was. Manifests keep the names of recordings and speakers, and with them the
split and the scenes.
"""

import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from hifitse.config.schema import Config
from hifitse.corpus.packing.recording import Job, is_done, pack
from hifitse.corpus.scan import EXTENSIONS
from hifitse.corpus.sources import AllSources, Source, weights_of
from hifitse.errors import UsageError
from hifitse.storage import locked, remove_leftovers, write_json, write_text

_BYTES_OF_A_HEADER = 128
_SECONDS_TO_ESTIMATE = 5.0


@dataclass(frozen=True, slots=True)
class Target:
    """A corpus that is to be packed."""

    section: str
    """data, validation or test."""
    kind: str
    """speech, noise or rir."""
    source: Source
    weight: float | None
    manifest: Path
    jobs: tuple[Job, ...]


def plan(config: Config, sources: AllSources, folder: Path) -> list[Target]:
    """Decide what goes where: ``speech/vctk/p225/p225_001.wav``, listed in ``speech/vctk.jsonl``.

    What validation and test name is in folders of their names: ``test/speech/ears.jsonl``.

    Raises:
        UsageError: the folder is inside a corpus that is to be packed, or one of them is inside the folder.
    """
    targets = []
    for section, named in {"data": sources, "validation": sources.validation, "test": sources.test}.items():
        for kind in ("speech", "noise", "rir"):
            found: list[Source] = getattr(named, kind)
            weights = weights_of(getattr(config.data, kind)) if section == "data" else None
            place = folder / kind if section == "data" else folder / section / kind
            for source in found:
                here, there = folder.resolve(), source.path.resolve()
                if here.is_relative_to(there) or there.is_relative_to(here):
                    raise UsageError(
                        f"-o {folder}: {source.path} is to be packed; choose a folder that is apart from it"
                    )
                manifest = place / f"{source.label}.jsonl"
                jobs = _jobs(source, manifest.with_suffix(""), config.audio.sample_rate, kind == "rir")
                weight = None if weights is None else weights[source.entry] * _share_of_entry(source, found)
                targets.append(Target(section, kind, source, weight, manifest, jobs))
    return targets


def pending(targets: Sequence[Target]) -> list[Job]:
    """Return the jobs that are left: their file is missing, cut short, or made from something else."""
    jobs = [job for target in targets for job in target.jobs]
    with ThreadPoolExecutor() as threads:
        return [job for job, done in zip(jobs, threads.map(is_done, jobs), strict=True) if not done]


def needed_bytes(jobs: Sequence[Job]) -> int:
    """Return about how much the jobs will write; twice as much, if everything is very quiet or clipped."""
    return sum(job.num_samples * (4 if job.keep_floats else 2) + _BYTES_OF_A_HEADER for job in jobs)


def free_bytes(folder: Path, jobs: Sequence[Job]) -> int:
    """Return how much is free where the folder is, or will be.

    Raises:
        UsageError: that is less than the jobs need.
    """
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free, needed = shutil.disk_usage(existing).free, needed_bytes(jobs)
    if needed > free:
        raise UsageError(
            f"-o {folder}: needs {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free; make room, or choose "
            "another disk"
        )
    return free


def run(
    jobs: Sequence[Job],
    num_threads: int,
    progress: Callable[[int], None] | None = None,
    estimate: Callable[[float], None] | None = None,
) -> dict[Job, str]:
    """Do the jobs; return those whose recording cannot be read, with the reason.

    Args:
        progress: called with how many are done.
        estimate: called once, after a few seconds, with how many seconds are left.

    Raises:
        DataError: a file cannot be written, or reads back as something else.
    """
    unreadable = {}
    started, num_done, num_samples = time.perf_counter(), 0, sum(job.num_samples for job in jobs)
    with ThreadPoolExecutor(num_threads) as threads:
        try:
            for number, (job, problem) in enumerate(zip(jobs, threads.map(pack, jobs), strict=True), start=1):
                if problem:
                    unreadable[job] = problem
                num_done += job.num_samples
                seconds = time.perf_counter() - started
                if estimate and seconds > _SECONDS_TO_ESTIMATE:
                    estimate(seconds * (num_samples / num_done - 1))
                    estimate = None
                if progress:
                    progress(number)
        finally:
            threads.shutdown(cancel_futures=True)
    return unreadable


def write_manifests(targets: Sequence[Target], folder: Path, unreadable: dict[Job, str]) -> dict[str, Any]:
    """Write a manifest for each corpus and ``packed.json``, and return what that says.

    Its sections ``data``, ``validation`` and ``test`` are what a configuration needs to use what was packed.
    """
    corpora = []
    config: dict[str, dict[str, list[Any]]] = {}
    for target in targets:
        jobs = [job for job in target.jobs if job not in unreadable]
        write_text(target.manifest, "".join(_line(job, target) for job in jobs))
        path = os.path.abspath(target.manifest)
        config.setdefault(target.section, {}).setdefault(target.kind, []).append(
            path if target.weight is None else {"path": path, "weight": target.weight}
        )
        corpora.append(
            {
                "from": str(target.source.path),
                "to": path,
                "recordings": len(jobs),
                "hours": sum(job.recording.seconds for job in jobs) / 3600,
                "bytes": sum(job.target.stat().st_size for job in jobs),
            }
        )
    summary = {**config, "corpora": corpora, "left_out": list(unreadable.values())}
    write_json(folder / "packed.json", summary)
    return summary


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold the folder for writing.

    Raises:
        UsageError: another process packs into it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(folder / ".lock"))
        except BlockingIOError:
            raise UsageError(f"-o {folder}: another process packs into it; wait for it, or stop it") from None
        remove_leftovers(folder)
        yield


def _share_of_entry(source: Source, sources: Sequence[Source]) -> float:
    """Return the part of its entry's weight that keeps every speaker (or file) of the entry as likely as it was."""
    sizes = {other.label: len(other.speakers or other.recordings) for other in sources if other.entry == source.entry}
    return sizes[source.label] / sum(sizes.values()) if sizes[source.label] else 1.0


def _jobs(source: Source, folder: Path, sample_rate: int, keep_floats: bool) -> tuple[Job, ...]:
    speakers = {r.name: speaker for speaker, recordings in source.speakers.items() for r in recordings}
    changed_ns = {path: os.stat(path).st_mtime_ns for path in {r.file for r in source.recordings}}
    seen: Counter[str] = Counter()
    jobs = []
    for recording in source.recordings:
        if (speakers and recording.name not in speakers) or source.set_of(recording) is None:
            continue
        name = recording.name.removeprefix(source.prefix)
        place = _place(name)
        seen[place.lower()] += 1
        number = f"-{seen[place.lower()]}" if seen[place.lower()] > 1 else ""
        jobs.append(
            Job(
                recording=recording,
                name=name,
                speaker=speakers.get(recording.name, ""),
                target=folder / f"{place}{number}.wav",
                sample_rate=sample_rate,
                source_changed_ns=changed_ns[recording.file],
                keep_floats=keep_floats,
            )
        )
    return tuple(jobs)


def _place(name: str) -> str:
    """Return where a recording goes below its corpus, without suffix; no name leads out of it."""
    place = "/".join(part for part in PurePosixPath(name).parts if part not in ("/", ".."))
    return place.rpartition(".")[0] if place.lower().endswith(EXTENSIONS) else place


def _line(job: Job, target: Target) -> str:
    row = {"path": job.target.relative_to(target.manifest.parent).as_posix(), "name": job.name}
    row |= {"speaker": job.speaker} if job.speaker else {}
    return json.dumps(row | ({"split": target.source.sets[job.recording]} if target.source.sets else {})) + "\n"
