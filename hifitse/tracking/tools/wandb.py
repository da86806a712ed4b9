"""Weights & Biases. It cannot forget steps: where a kill has cut a run, another one of the same name is begun."""

import uuid
from collections.abc import Sequence

import wandb

from hifitse.config.tracking import WandbConfig
from hifitse.tracking.protocol import TrackedRun
from hifitse.tracking.rows import Figures
from hifitse.tracking.scenes import Media


class Wandb:
    """A run; offline ones are in runs/demo/wandb."""

    def __init__(self, section: WandbConfig, run: TrackedRun) -> None:
        self.section, self.run = section, run

    def begin(self) -> str:
        run_id = uuid.uuid4().hex
        self._open(run_id)
        return run_id

    def resume(self, run_id: str, forget_from: int | None) -> bool:
        if forget_from is not None:
            return False
        self._open(run_id)
        return True

    def log(self, rows: Sequence[Figures]) -> None:
        for row in rows:
            self.opened.log({"step": row.step, **row.values})

    def show(self, media: Media) -> None:
        audio = {tag: wandb.Audio(samples, media.sample_rate) for tag, samples in media.audio.items()}
        images = {tag: wandb.Image(grey) for tag, grey in media.images.items()}
        self.opened.log({"step": media.step, **audio, **images})

    def close(self) -> None:
        self.opened.finish()

    def _open(self, run_id: str) -> None:
        self.opened = wandb.init(
            project=self.section.project,
            id=run_id,
            name=self.run.name,
            group=self.run.group,
            config=self.run.settings,
            dir=self.run.folder,
            resume="allow",
            reinit="create_new",
            # The screen and the program are not its own.
            settings=wandb.Settings(silent=True, console="off", save_code=False, disable_git=True),
        )
        # Its own count of steps must not go back, but a validation's row may come late.
        self.opened.define_metric("*", step_metric="step")
