"""Log files of a training: lines of JSON with a step each, and TensorBoard events."""

import json
import math
from pathlib import Path

from wsol_jax import processes
from wsol_jax.errors import InputError
from wsol_jax.files import write_atomically

LOG, WATCH = "log.jsonl", "watch.jsonl"


class LogFile:
    """Lines of JSON with a step each, cut back to the step that training continues from.

    Only the first process writes.
    """

    def __init__(self, folder: Path, start: int, name: str = LOG):
        self.path, self.is_writer = folder / name, processes.is_first()
        if self.is_writer:
            kept = "".join(json.dumps(line) + "\n" for line in read_log(folder, name) if line["step"] <= start)
            write_atomically(self.path, lambda file: file.write(kept.encode()))

    def write(self, step: int, values: dict[str, float]) -> None:
        """Append a line of a step and named numbers."""
        if self.is_writer:
            with self.path.open("a") as file:
                file.write(json.dumps({"step": step} | values) + "\n")


class TrainingLog:
    """The curve of a training: lines of log.jsonl, and TensorBoard events."""

    def __init__(self, folder: Path, start: int):
        from clu import metric_writers

        self.file = LogFile(folder, start)
        self.writer = metric_writers.create_default_writer(
            str(folder / "tensorboard"), just_logging=not self.file.is_writer, asynchronous=False
        )

    def write(self, step: int, values: dict[str, float]) -> None:
        """Append the values of one step.

        Raises:
            InputError: the loss is not a finite number.
        """
        if not math.isfinite(values["loss"]):
            raise InputError(
                f"{self.file.path.parent.name}: the loss is {values['loss']} at step {step}; lower learning_rate"
            )
        self.writer.write_scalars(step, values)
        self.file.write(step, values)


def read_log(folder: Path, name: str = LOG) -> list[dict[str, float]]:
    """Return the lines of a `LogFile`, without a last one that was cut off; [] if there is no file.

    Raises:
        InputError: another line is not a JSON object with a step.
    """
    path = folder / name
    if not path.exists():
        return []
    lines = path.read_bytes().splitlines(keepends=True)
    try:
        values = [json.loads(line) for line in lines if line.endswith(b"\n")]
        if not all(isinstance(line, dict) and isinstance(line.get("step"), int) for line in values):
            raise ValueError("a line without a step")
    except ValueError as error:  # also of broken bytes: a UnicodeDecodeError is a ValueError
        raise InputError(f"{path}: not lines of JSON with a step each; redo the stage of its run") from error
    return values
