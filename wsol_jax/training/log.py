"""Log files of a training: lines of JSON with a step each, and TensorBoard events."""

import json
import math
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

import numpy as np

from wsol_jax import processes
from wsol_jax.data.render import Batch
from wsol_jax.errors import InputError
from wsol_jax.files import write_atomically
from wsol_jax.paths import RemotePath, copy_folder

LOG, WATCH, SELECT = "log.jsonl", "watch.jsonl", "select.jsonl"
NEEDED = {LOG: ("step", "loss"), WATCH: ("step", "epoch"), SELECT: ("step", "epoch", "value")}  # of every line
PAUSE = 10.0  # seconds between two writes of a remote log: Google's stores take one a second of an object
PHOTOS, EDGE = 8, (255, 0, 0)  # of TensorBoard: their number, the colour of the box to learn


class LogFile:
    """Lines of JSON with a step each, cut back to the step that training continues from.

    Only the first process writes. A remote file is written as a whole: that of a training after some seconds, and by
    `flush`, so that it is not behind a checkpoint.
    """

    def __init__(self, folder: Path, start: int, name: str = LOG):
        self.path, self.is_writer = folder / name, processes.is_first()
        self.is_slow, self.last = name == LOG, time.monotonic()
        if self.is_writer:
            self.kept = "".join(json.dumps(line) + "\n" for line in read_log(folder, name) if line["step"] <= start)
            write_atomically(self.path, lambda file: file.write(self.kept.encode()))

    def write(self, step: int, values: dict[str, float]) -> None:
        """Append a line of a step and named numbers.

        Raises:
            OSError: it cannot be written; the error names the file.
        """
        if not self.is_writer:
            return
        line = json.dumps({"step": step} | values) + "\n"
        if isinstance(self.path, RemotePath):
            self.kept += line
            if not self.is_slow or time.monotonic() - self.last >= PAUSE:
                self.flush()
            return
        try:
            with self.path.open("a") as file:
                file.write(line)
        except OSError as error:
            raise OSError(f"{self.path} cannot be written ({error.strerror}); is the disk full?") from error

    def flush(self) -> None:
        """Write the lines that are not written yet."""
        if self.is_writer and isinstance(self.path, RemotePath):
            self.path.write_bytes(self.kept.encode())
            self.last = time.monotonic()


class TrainingLog:
    """The curve of a training: lines of log.jsonl; TensorBoard also has its rate, speed, gradient norm and photos.

    Events of a remote run are written to this machine's temporary folder, and copied by `flush`.
    """

    def __init__(self, folder: Path, start: int):
        from clu import metric_writers

        self.file, self.events = LogFile(folder, start), folder / "tensorboard"
        self.scratch = tempfile.TemporaryDirectory() if isinstance(folder, RemotePath) else None
        self.writer = metric_writers.create_default_writer(
            self.scratch.name if self.scratch else str(self.events),
            just_logging=not self.file.is_writer,
            asynchronous=False,
        )
        self.last = (start, time.monotonic())

    def write(self, step: int, values: dict[str, float], more: Mapping[str, float] = MappingProxyType({})) -> None:
        """Append the values of one step, and the steps per second since the last one.

        Args:
            step: the number of steps that are done.
            values: for log.jsonl and TensorBoard.
            more: for TensorBoard alone.

        Raises:
            InputError: the loss is not a finite number.
        """
        if not math.isfinite(values["loss"]):
            raise InputError(
                f"{self.file.path.parent.name}: the loss is {values['loss']} at step {step}; lower learning_rate"
            )
        now = time.monotonic()
        speed = (step - self.last[0]) / max(now - self.last[1], 1e-9)
        self.last = (step, now)
        with self._events():
            self.writer.write_scalars(step, values | dict(more) | {"steps_per_second": speed})
        self.file.write(step, values)

    def write_photos(self, step: int, batch: Batch) -> None:
        """Write a few photos of a batch to TensorBoard as the network sees them, with the edge of the box to learn.

        Args:
            step: the number of steps that are done.
            batch: on the devices. Features in place of photos are not written.
        """
        shards = batch.image.addressable_shards
        image, target = np.array(shards[0].data)[:PHOTOS], np.array(batch.target.addressable_shards[0].data)[:PHOTOS]
        if self.file.is_writer and image.dtype == np.uint8:
            for photo, box in zip(image, target, strict=True):
                _draw(photo, box)
            with self._events():
                self.writer.write_images(step, {"photos": image})

    def flush(self) -> None:
        """Write the lines and events that a remote run has not written yet."""
        self.file.flush()
        if self.scratch:
            with self._events():
                self.writer.flush()
            copy_folder(Path(self.scratch.name), self.events)

    @contextmanager
    def _events(self) -> Iterator[None]:
        """Turn TensorFlow's errors, of writing TensorBoard's files, into an OSError; their text is long."""
        try:
            yield
        except Exception as error:
            if not type(error).__module__.startswith("tensorflow."):
                raise
            raise OSError(f"{self.events} cannot be written ({type(error).__name__}); is the disk full?") from error


def _draw(photo: np.ndarray, box: np.ndarray) -> None:
    """Draw the edge of a box into a photo; zeros are no box."""
    height, width = photo.shape[:2]
    x0, y0, x1, y1 = np.clip(box * (width, height, width, height), 0, (width - 1, height - 1) * 2).astype(int)
    if x1 > x0 and y1 > y0:
        photo[[y0, y1], x0 : x1 + 1] = photo[y0 : y1 + 1, [x0, x1]] = EDGE


def read_log(folder: Path, name: str = LOG) -> list[dict[str, float]]:
    """Return the lines of a `LogFile`, without a last one that was cut off; [] if there is no file.

    Raises:
        InputError: another line is not a JSON object of numbers, with those of `NEEDED`.
    """
    path = folder / name
    if not path.exists():
        return []
    lines = path.read_bytes().splitlines(keepends=True)
    try:
        values = [json.loads(line) for line in lines if line.endswith(b"\n")]
    except (ValueError, RecursionError) as error:  # also of broken bytes: a UnicodeDecodeError is a ValueError
        raise InputError(f"{path}: not lines of JSON; redo the stage of its run") from error
    for number, line in enumerate(values, start=1):
        if not isinstance(line, dict) or not all(type(value) in (int, float) for value in line.values()):
            raise InputError(f"{path}: line {number} is not numbers by name; redo the stage of its run")
        if missing := [key for key in NEEDED[name] if key not in line] + ["step"] * (type(line.get("step")) is float):
            raise InputError(f"{path}: line {number} has no {missing[0]}; redo the stage of its run")
    return values
