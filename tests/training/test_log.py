"""Log files: lines of JSON with a step each, cut back to the step that training continues from."""

import json

import pytest
import tensorflow as tf

from wsol_jax.errors import InputError
from wsol_jax.paths import to_path
from wsol_jax.training import log as log_module
from wsol_jax.training.log import LOG, WATCH, LogFile, TrainingLog, read_log


def test_lines_past_the_step_of_the_checkpoint_are_dropped(tmp_path):
    log = TrainingLog(tmp_path, 0)
    for step in range(1, 6):
        log.write(step, {"loss": 1 / step})
    assert read_log(tmp_path) == [{"step": step, "loss": 1 / step} for step in range(1, 6)]
    TrainingLog(tmp_path, 3)
    assert [line["step"] for line in read_log(tmp_path)] == [1, 2, 3]


def test_there_are_events_for_tensorboard(tmp_path):
    TrainingLog(tmp_path, 0).write(1, {"loss": 0.5})
    (file,) = (tmp_path / "tensorboard").iterdir()
    assert file.name.startswith("events.out.tfevents")


def test_a_folder_without_a_file_has_no_lines(tmp_path):
    assert read_log(tmp_path) == read_log(tmp_path / "absent") == []


def test_files_of_one_folder_are_kept_apart(tmp_path):
    LogFile(tmp_path, 0, WATCH).write(0, {"epoch": 0})
    LogFile(tmp_path, 0).write(1, {"loss": 2.0})
    assert read_log(tmp_path, WATCH) == [{"step": 0, "epoch": 0}] and read_log(tmp_path) == [{"step": 1, "loss": 2.0}]


@pytest.mark.parametrize("end", [b'{"st', b'{"step": 2, "loss": 0.5}', b"\xff"])
def test_a_last_line_that_was_cut_off_is_ignored_and_removed(end, tmp_path):
    """Without its line break it may lack digits, even if it is valid JSON."""
    whole = b'{"step": 1, "loss": 0.75}\n'
    (tmp_path / LOG).write_bytes(whole + end)
    assert read_log(tmp_path) == [{"step": 1, "loss": 0.75}]
    LogFile(tmp_path, 5)
    assert (tmp_path / LOG).read_bytes() == whole


@pytest.mark.parametrize(
    "broken",
    [
        *(b'{"step": 1, "lo', b"[1]", b'{"loss": 1.0}', b'{"step": "1"}', b"\xff\xfe", b"7", b"[" * 100_000),
        *(b'{"step": 1}', b'{"step": 1.5, "loss": 1}', b'{"step": 1, "loss": "1"}', b'{"step": 1, "loss": null}'),
    ],
)
def test_a_broken_line_in_the_middle_is_an_error_that_names_the_file(broken, tmp_path):
    (tmp_path / LOG).write_bytes(broken + b'\n{"step": 2, "loss": 0.5}\n')
    with pytest.raises(InputError) as error:
        read_log(tmp_path)
    assert str(error.value).startswith(f"{tmp_path / LOG}: ") and str(error.value).endswith(
        "; redo the stage of its run"
    )


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_is_an_error_and_not_written(loss, tmp_path):
    log = TrainingLog(tmp_path / "localizer", 0)
    log.write(1, {"loss": 3.0})
    with pytest.raises(InputError, match=rf"^localizer: the loss is {loss} at step 2; lower learning_rate$"):
        log.write(2, {"loss": loss})
    assert [json.loads(line) for line in (tmp_path / "localizer" / LOG).read_text().splitlines()] == [
        {"step": 1, "loss": 3.0}
    ]


def test_events_that_cannot_be_written_are_one_line(tmp_path, monkeypatch):
    log = TrainingLog(tmp_path, 0)

    def fail(error):
        raise error

    full = tf.errors.OutOfRangeError(None, None, "Failed to flush\nmany\nlines")
    monkeypatch.setattr(log.writer, "write_scalars", lambda *_: fail(full))
    with pytest.raises(OSError, match=r"tensorboard cannot be written \(OutOfRangeError\); is the disk full\?$"):
        log.write(1, {"loss": 1.0})
    monkeypatch.setattr(log.writer, "write_scalars", lambda *_: fail(TypeError("a mistake of ours")))
    with pytest.raises(TypeError, match="a mistake of ours"):
        log.write(2, {"loss": 1.0})


def test_a_remote_log_is_whole_at_each_checkpoint(store):
    folder = to_path("gs://bucket/run/train")
    log, watched = TrainingLog(folder, 0), LogFile(folder, 0, WATCH)
    for step in range(1, 6):
        log.write(step, {"loss": 1 / step})
        watched.write(step, {"epoch": step})
    assert read_log(folder) == [] and len(read_log(folder, WATCH)) == 5
    log.flush()
    assert read_log(folder) == [{"step": step, "loss": 1 / step} for step in range(1, 6)]
    (events,) = (folder / "tensorboard").iterdir()
    assert events.name.startswith("events.out.tfevents") and len(events.read_bytes()) > 100
    TrainingLog(folder, 3)
    assert [line["step"] for line in read_log(folder)] == [1, 2, 3]


def test_a_remote_log_is_written_after_some_seconds(store, monkeypatch):
    monkeypatch.setattr(log_module, "PAUSE", 0.0)
    log = LogFile(to_path("gs://bucket/run"), 0)
    log.write(1, {"loss": 0.5})
    assert [line["step"] for line in read_log(log.path.parent)] == [1]
