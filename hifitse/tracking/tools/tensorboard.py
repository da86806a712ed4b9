"""TensorBoard's event files, runs/demo/tensorboard; those of later branches are in folders below, 02, 03 and so on.

TensorBoard's own writer would end the training on a full disk: it writes in a thread of its own, which dies with a
traceback. So the files are written here, by the same protocol buffers.
"""

import io
import time
from collections.abc import Sequence
from typing import Any

from PIL import Image
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.plugins.audio import metadata as audio
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from tensorboard.summary.writer.record_writer import RecordWriter

from hifitse.config.tracking import TensorBoardConfig
from hifitse.json_log import append_bytes
from hifitse.tracking.protocol import TrackedRun
from hifitse.tracking.rows import Figures
from hifitse.tracking.scenes import Media, wav


class TensorBoard:
    """Writes one event file; of all files of a folder, TensorBoard shows what no later one has purged."""

    def __init__(self, section: TensorBoardConfig, run: TrackedRun) -> None:
        folder = run.folder / "tensorboard"
        self.folder, self.run = folder if run.branch == 1 else folder / f"{run.branch:02d}", run
        self.path = self.folder / f"events.out.tfevents.{time.time():.6f}"

    def begin(self) -> str:
        # Whatever an older version, or a run of this name that is gone, has left there.
        self._open(0)
        self._write([self._config(), Event(step=0, summary=hparams_pb(_plain(self.run.settings), self.run.name))])
        return self.folder.name

    def resume(self, run_id: str, forget_from: int | None) -> bool:
        self._open(forget_from)
        return True

    def log(self, rows: Sequence[Figures]) -> None:
        self._write(
            Event(
                step=row.step,
                summary=Summary(value=[Summary.Value(tag=tag, simple_value=row.values[tag]) for tag in row.values]),
            )
            for row in rows
        )

    def show(self, media: Media) -> None:
        # As a tensor of (clip, label): of the older Summary.Audio, TensorBoard would not tell the browser the format.
        is_wav = audio.create_summary_metadata("", "", audio.Encoding.Value("WAV"))
        shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=1), TensorShapeProto.Dim(size=2)])
        values = []
        for tag, samples in media.audio.items():
            clip = TensorProto(dtype=DT_STRING, tensor_shape=shape, string_val=[wav(samples, media.sample_rate), b""])
            values.append(Summary.Value(tag=tag, tensor=clip, metadata=is_wav))
        for tag, grey in media.images.items():
            file = io.BytesIO()
            Image.fromarray(grey).save(file, "png", compress_level=1)
            height, width = grey.shape
            image = Summary.Image(height=height, width=width, colorspace=1, encoded_image_string=file.getvalue())
            values.append(Summary.Value(tag=tag, image=image))
        self._write([Event(step=media.step, summary=Summary(value=values))])

    def close(self) -> None:
        """Nothing is left: all is written at once."""

    def _open(self, forget_from: int | None) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        opening = [Event(file_version="brain.Event:2")]
        if forget_from is not None:
            opening.append(Event(step=forget_from, session_log=SessionLog(status=SessionLog.START)))
        self._write(opening)

    def _config(self) -> Event:
        # Markdown shows what is indented as it is.
        text = "".join(f"    {line}\n" for line in self.run.config_text.splitlines())
        tensor = TensorProto(dtype=DT_STRING, string_val=[text.encode()])
        metadata = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text"))
        return Event(step=0, summary=Summary(value=[Summary.Value(tag="config", tensor=tensor, metadata=metadata)]))

    def _write(self, events: Any) -> None:
        records, now = io.BytesIO(), time.time()
        for event in events:
            event.wall_time = now
            RecordWriter(records).write(event.SerializeToString())
        append_bytes(self.path, records.getvalue())


def _plain(settings: dict[str, Any]) -> dict[str, str | float | bool]:
    """Return settings as hyperparameters, which are plain values."""
    return {key: value if isinstance(value, str | int | float) else str(value) for key, value in settings.items()}
