"""Which network learns most in a given processor time? Equal time, equal scenes, speakers that were never heard.

    python benchmarks/models.py --speech FOLDER [FOLDER ...] --out runs/models --budget 600 --models compact attention
    python benchmarks/models.py --out runs/models --table --into docs/models.md    # the table of what is done so far

Every cell (a model of VARIANTS, a budget, a seed) trains from fresh weights with the project's own step, objective and
optimizer until the budget of processor seconds of one thread is used up; learning rate, phases and warm-up are those of
the base configuration, stretched to the number of steps that fit. All models hear the same scenes: they are rendered
once, into a bank, and each seed has its own order of them. At the end the EMA weights are validated on scenes of the
held-out speakers. A cell is one JSON file, and one that is there is not repeated; once the bank is there, several of
these commands may run side by side, each with models of its own.

Intervals are bootstrapped over the speakers, 95 %: scenes of one speaker are not independent. The paired difference to
the first model of the table is over the same scenes.
"""

import argparse
import hashlib
import json
import multiprocessing
import statistics
import time
from collections.abc import Generator, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hifitse.audio.cache import DecodedRecordings
from hifitse.config.files import load_config, to_data
from hifitse.config.schema import Config
from hifitse.evaluation.validation import scenes_digest, validate
from hifitse.experiment import Experiment
from hifitse.mixing.batch import MicroBatch, step_indices
from hifitse.mixing.curriculum import absent_ratio_at, is_absent, settings_at, validation_settings
from hifitse.mixing.loader import TRAIN_PURPOSE, VALIDATION_PURPOSE, VALIDATION_SEED
from hifitse.mixing.rendering import render_index
from hifitse.models.build import num_parameters
from hifitse.seeding import generator
from hifitse.storage import atomic_file
from hifitse.training.step import TrainingSession

ADAMW = "train.optimizer={kind: adamw, betas: [0.9, 0.98]}"
MUON = "train.optimizer={kind: muon}"
WIDE = "mixing.speeds=[0.75, 0.825, 0.9, 0.975, 1.0, 1.05, 1.125, 1.2, 1.35]"
FAR = (
    "mixing.speeds=[0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0, 1.05, 1.1, 1.15, 1.2, 1.3, 1.4, 1.5, "
    "1.65, 1.8]"
)
FAST = ("train.precision=bfloat16", "train.compile=true")
AT_16K = ("audio.sample_rate=16000", FAR)
SMALL_GRID = (
    "model={kind: grid, stft: {n_fft: 512, window: 512, hop: 256}, bands: 16, feature_dim: 32, lstm_hidden: 64, "
    "num_blocks: 2, reinject_at: [0, 1], normalize_level: true, activation_checkpointing: false}"
)
SMALL_BANDS = (
    "model={kind: band_attention, stft: {n_fft: 1024, window: 1024, hop: 512}, num_bands: 3, feature_dim: 128, "
    "hidden_dim: 256, num_heads: 2, num_blocks: 2, num_reference_blocks: 0, activation_checkpointing: false}"
)
VARIANTS: dict[str, tuple[str, ...]] = {
    "compact": ("model.kind=compact", ADAMW),
    "compact-muon": ("model.kind=compact", MUON),
    "compact-wide": ("model.kind=compact", ADAMW, WIDE),
    "compact-muon-wide": ("model.kind=compact", MUON, WIDE),
    "attention-adamw": ("model.kind=attention", ADAMW),
    "attention": ("model.kind=attention", MUON),
    "attention-wide": ("model.kind=attention", MUON, WIDE),
    "attention-wide-fast": ("model.kind=attention", MUON, WIDE, *FAST),
    "attention-far": ("model.kind=attention", MUON, FAR, "train.precision=bfloat16"),
    "grid-16k": (*AT_16K, SMALL_GRID, ADAMW, "train.batch_size=4"),
    "band_attention-16k": (*AT_16K, SMALL_BANDS, MUON, *FAST, "train.batch_size=8"),
}
"""Overrides of the base configuration, by the name of the model in the table."""
WARM_UP_SHARE = 0.05
REPLAN_EVERY = 25
SCALE = 2**15


@dataclass(frozen=True)
class Bank:
    """Rendered scenes on the disk: int16 of shape (N, 3, L), mixture, target and reference."""

    present: np.ndarray
    absent: np.ndarray
    speakers: list[str]
    """The target speaker of each validation scene."""


class BankExperiment(Experiment):
    """An experiment whose training scenes come from a bank."""

    bank: Bank

    def training_batches(self, start_step: int, stop_step: int) -> Generator[MicroBatch]:
        """Yield a step's scenes as one micro-batch: TP or TA by their index, which scenes by the seed."""
        orders = [_Order(self.config.seed, len(scenes)) for scenes in (self.bank.present, self.bank.absent)]
        for step in range(start_step, stop_step):
            indices = step_indices(step, self.config.train.batch_size)
            ratio = absent_ratio_at(self.config, step)
            absent = [is_absent(index, ratio) for index in indices]
            rows = [
                self.bank.absent[orders[1][index]] if is_ta else self.bank.present[orders[0][index]]
                for index, is_ta in zip(indices, absent, strict=True)
            ]
            waveforms = torch.from_numpy(np.stack(rows)).float() / SCALE
            yield MicroBatch(
                step=step,
                number=0,
                is_last=True,
                indices=tuple(indices),
                mixture=waveforms[:, 0, : self.config.audio.mixture_samples],
                target=waveforms[:, 1, : self.config.audio.mixture_samples],
                reference=waveforms[:, 2, : self.config.audio.reference_samples],
                present=~torch.tensor(absent),
            )


class _Order:
    """The order in which the scenes of a bank come; each round has another."""

    def __init__(self, seed: int, size: int) -> None:
        self.seed, self.size, self.round = seed, size, -1
        self.order = np.arange(size)

    def __getitem__(self, index: int) -> int:
        turn, place = divmod(index, self.size)
        if turn != self.round:
            self.round, self.order = turn, generator(self.seed, "models/order", turn).permutation(self.size)
        return int(self.order[place])


def make_bank(config: Config, folder: Path, num_scenes: int, jobs: int) -> Bank:
    """Render the scenes that a configuration asks for, unless they are there."""
    experiment = Experiment.build(config, torch.device("cpu"))
    recipe = [config.audio.model_dump(), config.mixing.model_dump(), config.curriculum[-1].model_dump()]
    text = json.dumps([recipe, experiment.corpus.fingerprint, scenes_digest(experiment), num_scenes], sort_keys=True)
    place = folder / f"scenes-{hashlib.blake2b(text.encode(), digest_size=4).hexdigest()}"
    num_absent = num_scenes // 5
    if not (place / "speakers.json").exists():
        place.mkdir(parents=True, exist_ok=True)
        samples = max(config.audio.mixture_samples, config.audio.reference_samples)
        for name, count in (("present", num_scenes), ("absent", num_absent)):
            np.lib.format.open_memmap(place / f"{name}.npy", "w+", np.int16, (count, 3, samples))
        parts = [(config, place, start, num_scenes, num_absent) for start in range(0, num_scenes, 500)]
        with multiprocessing.get_context("spawn").Pool(jobs) as pool:
            for done, _ in enumerate(pool.imap_unordered(_render_part, parts), 1):
                print(f"\rrendered {min(500 * done, num_scenes)} of {num_scenes} scenes", end="", flush=True)
        print()
        with atomic_file(place / "speakers.json") as temporary:
            temporary.write_text(json.dumps(_validation_speakers(config)))
    arrays = [np.load(place / f"{name}.npy", mmap_mode="r") for name in ("present", "absent")]
    return Bank(*arrays, json.loads((place / "speakers.json").read_text()))


def _render_part(job: tuple[Config, Path, int, int, int]) -> None:
    config, place, first, num_present, num_absent = job
    torch.set_num_threads(1)
    pool = Experiment.build(config, torch.device("cpu")).corpus.train
    files = DecodedRecordings(config.data.cache_megabytes)
    settings = settings_at(config, config.train.total_steps - 1)
    for name, ratio, count in (("present", 0.0, num_present), ("absent", 1.0, num_absent)):
        scenes = np.lib.format.open_memmap(place / f"{name}.npy", "r+")
        chosen = replace(settings, absent_ratio=ratio)
        # TP and TA scenes have numbers of their own: equal ones would share their voices.
        offset = 0 if name == "present" else num_present
        for row in range(first, min(first + 500, count)):
            _, scene = render_index(0, TRAIN_PURPOSE, offset + row, chosen, pool, config.audio, config.mixing, files)
            for place_in_row, samples in enumerate((scene.mixture, scene.target, scene.reference)):
                scaled = np.clip(np.round(samples * SCALE), -SCALE, SCALE - 1)
                scenes[row, place_in_row, : len(samples)] = scaled.astype(np.int16)


def _validation_speakers(config: Config) -> list[str]:
    pool = Experiment.build(config, torch.device("cpu")).corpus.held_out
    settings, files = validation_settings(config), DecodedRecordings(config.data.cache_megabytes)
    return [
        render_index(VALIDATION_SEED, VALIDATION_PURPOSE, index, settings, pool, config.audio, config.mixing, files)[
            0
        ].speaker
        for index in range(config.validation.num_scenes)
    ]


def planned(config: Config, base: Config, total: int, step: int) -> Config:
    """Return the configuration with the base's schedule stretched to so many steps; past phases stay past."""
    stretch = total / base.train.total_steps
    curriculum = []
    for old, phase in zip(config.curriculum, base.curriculum, strict=True):
        until = None if phase.until is None else max(1, min(round(phase.until * stretch), total - 1))
        if until is not None and old.until is not None and old.until <= step:
            until = min(until, old.until)
        ramp = round(phase.absent_ramp_steps * stretch)
        curriculum.append(phase.model_copy(update={"until": until, "absent_ramp_steps": ramp}))
    warm_up = max(1, min(round(WARM_UP_SHARE * total), total - 1))
    train = config.train.model_copy(update={"total_steps": total, "warmup_steps": warm_up})
    return config.model_copy(update={"curriculum": tuple(curriculum), "train": train})


def train_for(session: TrainingSession, bank: Bank, base: Config, budget: float) -> float:
    """Train until the processor time is used up, and return it."""

    def plan(total: int) -> None:
        config = planned(session.experiment.config, base, max(total, session.state.step + 1), session.state.step)
        session.experiment = replace(session.experiment, config=config)
        object.__setattr__(session.experiment, "bank", bank)

    plan(base.train.total_steps)
    used, recent = 0.0, []
    while True:
        first = session.state.step
        started = time.process_time()
        for _ in session.steps(first + REPLAN_EVERY):
            pass
        used += (elapsed := time.process_time() - started)
        recent = [*recent, elapsed / REPLAN_EVERY][-20:]
        left = budget - used
        step_seconds = statistics.mean(recent)
        if left < REPLAN_EVERY * step_seconds / 2:
            return used
        rounds = max(1, round(left / step_seconds / REPLAN_EVERY))
        plan(session.state.step + rounds * REPLAN_EVERY)


def run_cell(name: str, seed: int, options: argparse.Namespace, path: Path) -> None:
    """Train and validate one cell, and write its file."""
    base = configuration(name, seed, options)
    bank = make_bank(configuration(name, 0, options), options.out, options.scenes, options.jobs)
    experiment = BankExperiment.build(base, torch.device("cpu"))
    session = TrainingSession.fresh(experiment)
    object.__setattr__(session.experiment, "bank", bank)
    used = train_for(session, bank, base, options.budget)
    state = session.state
    result = validate(state.ema, state.model, session.experiment, state.step)
    cell = {
        "model": name,
        "seed": seed,
        "budget_seconds": options.budget,
        "used_seconds": used,
        "steps": state.step,
        "batch_size": base.train.batch_size,
        "parameters": num_parameters(state.model),
        "training_speakers": len(experiment.corpus.train.speakers),
        "overrides": [*VARIANTS[name], *options.set],
        "config": to_data(base),
        "metrics": result.metrics,
        "scenes_digest": result.scenes_digest,
        "samples": [
            asdict(sample) | {"speaker": speaker} for sample, speaker in zip(result.samples, bank.speakers, strict=True)
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(cell))
    shown = ", ".join(f"{key} {value:.2f}" for key, value in result.metrics.items())
    print(f"{path.stem}: {state.step} steps in {used:.0f} s; {shown}", flush=True)


def configuration(name: str, seed: int, options: argparse.Namespace) -> Config:
    """Return the configuration of a cell."""
    corpora = [
        f"data.{kind}=[{', '.join(json.dumps(str(path.resolve())) for path in paths)}]"
        for kind in ("speech", "noise", "rir")
        if (paths := getattr(options, kind))
    ]
    fixed = (
        "data.split=speaker",
        f"data.held_out_fraction={options.held_out}",
        "data.num_workers=0",
        f"validation.num_scenes={options.validation_scenes}",
        "train.cpu_threads=1",
        "train.micro_batch_size=1",
        f"seed={seed}",
    )
    config = load_config(options.base, [*corpora, *fixed, *options.set, *VARIANTS[name]])
    whole = config.train.model_copy(update={"micro_batch_size": config.train.batch_size})
    return config.model_copy(update={"train": whole})


# The table


def read_cells(folder: Path) -> dict[tuple[float, str], list[dict[str, Any]]]:
    """Return the finished cells, by budget and model."""
    cells: dict[tuple[float, str], list[dict[str, Any]]] = {}
    for path in sorted(folder.glob("cells/*.json")):
        cell = json.loads(path.read_text())
        cells.setdefault((cell["budget_seconds"], cell["model"]), []).append(cell)
    return cells


def by_speaker(cells: list[dict[str, Any]], field: str) -> dict[str, list[float]]:
    """Return a measurement of every scene, the mean over the seeds, by target speaker."""
    values: dict[str, list[float]] = {}
    for rows in zip(*(cell["samples"] for cell in cells), strict=True):
        if rows[0][field] is not None:
            values.setdefault(rows[0]["speaker"], []).append(statistics.mean(row[field] for row in rows))
    return values


def interval(values: dict[str, list[float]], draws: int = 4000) -> tuple[float, float, float]:
    """Return the mean over all scenes, and the ends of its 95 % interval, bootstrapped over the speakers."""
    sums = np.array([sum(scenes) for scenes in values.values()])
    counts = np.array([len(scenes) for scenes in values.values()])
    drawn = np.random.default_rng(0).integers(0, len(sums), (draws, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(sums.sum() / counts.sum()), float(low), float(high)


def difference(cells: list[dict[str, Any]], others: list[dict[str, Any]]) -> dict[str, list[float]]:
    """Return by how much SI-SDRi is higher in each scene than with another model, by target speaker."""
    ours, theirs = (by_speaker(of, "si_sdri_db") for of in (cells, others))
    return {name: [a - b for a, b in zip(ours[name], theirs[name], strict=True)] for name in ours}


def table(folder: Path) -> Iterator[str]:
    """Yield the lines of the table: a row for each budget and model; others compare to the first of their budget."""
    cells = read_cells(folder)
    order = {name: place for place, name in enumerate(VARIANTS)}
    columns = ("budget", "model", "parameters", "steps", "SI-SDRi, dB", "of each seed", "over the first", "rms_ratio")
    yield f"| {' | '.join(columns)} | TA suppression, dB |"
    yield "|---" * (len(columns) + 1) + "|"
    first: dict[float, list[dict[str, Any]]] = {}
    for budget, name in sorted(cells, key=lambda key: (key[0], order.get(key[1], len(order)))):
        found = cells[budget, name]
        reference = first.setdefault(budget, found)
        mean, low, high = interval(by_speaker(found, "si_sdri_db"))
        seeds = ", ".join(f"{cell['metrics']['tp_si_sdri']:.2f}" for cell in found)
        over = ""
        if reference is not found and reference[0]["scenes_digest"] == found[0]["scenes_digest"]:
            gain, lowest, highest = interval(difference(found, reference))
            over = f"{gain:+.2f} ({lowest:+.2f} to {highest:+.2f})"
        ratios = statistics.mean(cell["metrics"]["rms_ratio"] for cell in found)
        suppression = statistics.mean(cell["metrics"]["ta_suppression_db"] for cell in found)
        steps = statistics.mean(cell["steps"] for cell in found)
        yield (
            f"| {budget:g} s | {name} | {found[0]['parameters']:,} | {steps:.0f} "
            f"| {mean:.2f} ({low:.2f} to {high:.2f}) | {seeds} | {over} | {ratios:.2f} | {suppression:.1f} |"
        )


def put_into(page: Path, lines: list[str]) -> None:
    """Put the table between the two comments of a page that are its place."""
    before, begin, rest = page.read_text().partition("<!-- table -->\n")
    _, end, after = rest.partition("<!-- end of table -->")
    assert begin and end, f"{page} has no place for a table"
    page.write_text(f"{before}{begin}{chr(10).join(lines)}\n{end}{after}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/models"))
    parser.add_argument("--speech", type=Path, nargs="+", default=[], help="folders of speakers; default: the base's")
    parser.add_argument("--noise", type=Path, nargs="+", default=[])
    parser.add_argument("--rir", type=Path, nargs="+", default=[])
    parser.add_argument("--base", default="demo", help="configuration that all models share")
    parser.add_argument("--set", action="append", default=[], help="override of the base, KEY=VALUE")
    parser.add_argument("--models", nargs="+", default=["compact", "attention"], help=", ".join(VARIANTS))
    parser.add_argument("--variant", nargs="+", action="append", default=[], help="one more: NAME KEY=VALUE ...")
    parser.add_argument("--budget", type=float, default=600, help="processor seconds for each cell")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--scenes", type=int, default=30_000, help="TP scenes in the bank; a fifth as many TA scenes")
    parser.add_argument("--validation-scenes", type=int, default=500)
    parser.add_argument("--held-out", type=float, default=0.3, help="share of the speakers for validation")
    parser.add_argument("--jobs", type=int, default=1, help="processes that render the bank")
    parser.add_argument("--table", action="store_true", help="only make the table")
    parser.add_argument("--into", type=Path, help="page that has a place for the table")
    options = parser.parse_args()
    VARIANTS.update({name: tuple(overrides) for name, *overrides in options.variant})
    if unknown := [name for name in options.models if name not in VARIANTS]:
        parser.error(f"unknown models: {', '.join(unknown)}; add them with --variant")
    if not options.table:
        for seed in options.seeds:
            for name in options.models:
                path = options.out / "cells" / f"{name}-{options.budget:g}s-seed{seed}.json"
                if not path.exists():
                    run_cell(name, seed, options, path)
    lines = list(table(options.out))
    (options.out / "table.md").write_text("\n".join(lines) + "\n")
    if options.into:
        put_into(options.into, lines)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
