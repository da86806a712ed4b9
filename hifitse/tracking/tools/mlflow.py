"""MLflow. It cannot forget steps: where a kill has cut a run, the run is deleted, and another one begun."""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric, Param

from hifitse.config.tracking import MlflowConfig
from hifitse.tracking.protocol import TrackedRun
from hifitse.tracking.rows import Figures
from hifitse.tracking.scenes import Media, wav

_MOST_METRICS, _MOST_PARAMS = 1000, 100
"""That the server takes at once."""
_MOST_CHARACTERS = 500


class Mlflow:
    """A run in a store or on a server."""

    def __init__(self, section: MlflowConfig, run: TrackedRun) -> None:
        self.section, self.run = section, run
        self.client = MlflowClient(tracking_uri=section.uri)
        self.id = ""

    def begin(self) -> str:
        experiment = self.client.get_experiment_by_name(self.section.experiment)
        experiment_id = (
            experiment.experiment_id if experiment else self.client.create_experiment(self.section.experiment)
        )
        self.id = self.client.create_run(experiment_id, run_name=self.run.name).info.run_id
        params = [Param(key, str(value)[:_MOST_CHARACTERS]) for key, value in self.run.settings.items()]
        for first in range(0, len(params), _MOST_PARAMS):
            self.client.log_batch(self.id, params=params[first : first + _MOST_PARAMS])
        self.client.log_text(self.id, self.run.config_text, "config.yaml")
        return self.id

    def resume(self, run_id: str, forget_from: int | None) -> bool:
        if forget_from is not None:
            self.client.delete_run(run_id)
            return False
        self.id = run_id
        self.client.update_run(run_id, status="RUNNING")
        return True

    def log(self, rows: Sequence[Figures]) -> None:
        now = int(1000 * time.time())
        metrics = [Metric(tag, value, now, row.step) for row in rows for tag, value in row.values.items()]
        for first in range(0, len(metrics), _MOST_METRICS):
            self.client.log_batch(self.id, metrics=metrics[first : first + _MOST_METRICS])

    def show(self, media: Media) -> None:
        for tag, grey in media.images.items():
            self.client.log_image(self.id, grey, key=tag, step=media.step, synchronous=True)
        with tempfile.TemporaryDirectory() as folder:
            for tag, samples in media.audio.items():
                file = Path(folder) / f"{tag.replace('/', '_')}.wav"
                file.write_bytes(wav(samples, media.sample_rate))
                self.client.log_artifact(self.id, str(file), f"audio/step_{media.step:08d}")

    def close(self) -> None:
        self.client.set_terminated(self.id)
