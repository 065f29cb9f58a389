"""Processes that draw photos: the pixels and errors of threads, and none outlives the process that started it."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tiny
from PIL import Image

from wsol_jax.data import check_keys, load_dataset, plan
from wsol_jax.data import workers as workers_module
from wsol_jax.data.drawing import draw
from wsol_jax.data.photos import PhotoFiles
from wsol_jax.data.plan import View
from wsol_jax.data.records import NO_BOXES, Record
from wsol_jax.data.render import render
from wsol_jax.data.workers import workers
from wsol_jax.errors import InputError

SIZE = 20
NAMES = {"a.jpg": (60, 45), "b.jpg": (31, 70), "c.png": (40, 40), "d.jpg": (400, 300)}


@pytest.fixture
def records(tmp_path, write_photo) -> list[Record]:
    """Three photos of noise, and one of 16 bits with levels of its own."""
    for name, size in NAMES.items():
        write_photo(tmp_path / name, size)
    deep = np.random.default_rng(0).integers(0, 65536, (40, 40)).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "c.png")
    levels = {"c.png": (1000.0, 50000.0)}
    return [Record(name, i, size, NO_BOXES, levels=levels.get(name)) for i, (name, size) in enumerate(NAMES.items())]


@pytest.fixture
def started(monkeypatch) -> list[subprocess.Popen]:
    """The processes that the test has started."""
    begin, seen = workers_module._start, []
    monkeypatch.setattr(workers_module, "_start", lambda: seen.append(begin()) or seen[-1])
    return seen


def views_of(records: list[Record], count: int) -> list[View]:
    boxes = np.tile(plan.WHOLE, (len(records), 1))
    return list(plan.training_views(0, [record.size for record in records], boxes, "psol", (SIZE, SIZE), range(count)))


def whole(records: list[Record]) -> list[View]:
    return [View(i, plan.WHOLE, False, True) for i in range(len(records))]


@pytest.mark.parametrize("is_exact", [True, False])
def test_batches_are_those_of_threads(tmp_path, records, is_exact, started):
    views = views_of(records, 18)
    assert {view.flip for view in views} == {True, False}
    expected, drawn = (list(render(PhotoFiles(tmp_path, is_exact, count), records, views, SIZE, 6)) for count in (0, 2))
    assert len(started) == 2 and len(expected) == 3
    for one, other in zip(expected, drawn, strict=True):
        tiny.assert_trees_equal(one, other)


def test_they_end_with_the_stream(tmp_path, records, started):
    stream = render(PhotoFiles(tmp_path, workers=2), records, views_of(records, 100), SIZE, 4)
    next(stream)
    assert [worker.poll() for worker in started] == [None, None]
    stream.close()
    assert [worker.poll() for worker in started] == [-signal.SIGKILL] * 2


def test_an_unreadable_photo_is_named_and_the_process_goes_on(tmp_path, records):
    image = np.zeros((len(records), SIZE, SIZE, 3), np.uint8)
    with workers(PhotoFiles(tmp_path), 1) as draw_elsewhere:
        content = (tmp_path / "b.jpg").read_bytes()
        (tmp_path / "b.jpg").write_bytes(content[:-200])
        with pytest.raises(InputError, match=r"b\.jpg: not a readable photo \(.*truncated.*\)$"):
            draw_elsewhere(records, whole(records), image)
        (tmp_path / "b.jpg").write_bytes(content)
        draw_elsewhere(records, whole(records), image)
    expected = np.empty_like(image)
    draw(PhotoFiles(tmp_path), records, whole(records), expected)
    np.testing.assert_array_equal(image, expected)


def test_a_process_that_is_killed_is_one_error(tmp_path, records, started):
    image = np.empty((len(records), SIZE, SIZE, 3), np.uint8)
    with workers(PhotoFiles(tmp_path), 1) as draw_elsewhere:
        draw_elsewhere(records, whole(records), image)
        started[0].kill()
        with pytest.raises(InputError, match=r"^data\.workers: .* ended, with code -9; expected .* 0 for threads$"):
            draw_elsewhere(records, whole(records), image)


def test_sigterm_is_left_to_the_process_that_started_them(tmp_path, records, started):
    image = np.empty((len(records), SIZE, SIZE, 3), np.uint8)
    with workers(PhotoFiles(tmp_path), 1) as draw_elsewhere:
        started[0].send_signal(signal.SIGTERM)  # while it imports
        draw_elsewhere(records, whole(records), image)
        started[0].send_signal(signal.SIGTERM)
        image[:] = 0
        draw_elsewhere(records, whole(records), image)
        assert image.any() and started[0].poll() is None


def test_a_mistake_in_the_program_is_raised_with_its_place(tmp_path, records):
    image = np.empty((len(records), SIZE, SIZE, 3), np.uint8)
    with workers(PhotoFiles(tmp_path), 1) as draw_elsewhere, pytest.raises(ValueError, match="zip") as error:
        draw_elsewhere(records, whole(records)[1:], image)
    assert "drawing.py" in "".join(error.value.__notes__)


def test_they_end_when_the_process_that_started_them_is_killed(tmp_path):
    program = f"""
import time
from pathlib import Path
from wsol_jax.data import workers
from wsol_jax.data.photos import PhotoFiles
begin, pids = workers._start, []
workers._start = lambda: pids.append((worker := begin()).pid) or worker
with workers.workers(PhotoFiles(Path({str(tmp_path)!r})), 2):
    print(*pids, flush=True)
    time.sleep(600)
"""
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=root) as starter:
        pids = [int(pid) for pid in starter.stdout.readline().split()]
        assert len(pids) == 2 and all(map(is_running, pids))
        starter.kill()
    limit = time.monotonic() + 60
    while any(map(is_running, pids)):
        assert time.monotonic() < limit
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_another_end_is_named_by_its_own_error(tmp_path, records, started, monkeypatch, capfd):
    monkeypatch.setattr(workers_module, "_PROGRAM", "raise SystemExit('a broken installation')")
    image = np.empty((len(records), SIZE, SIZE, 3), np.uint8)
    message = r"^data\.workers: .* with code 1; its own error is above$"
    with workers(PhotoFiles(tmp_path), 1) as draw_elsewhere, pytest.raises(InputError, match=message):
        draw_elsewhere(records, whole(records), image)
    assert capfd.readouterr().err == "a broken installation\n"


def test_modules_of_the_working_directory_are_not_imported(tmp_path, records, monkeypatch):
    (tmp_path / "queue.py").write_text("raise RuntimeError")
    monkeypatch.chdir(tmp_path)
    image = np.zeros((len(records), SIZE, SIZE, 3), np.uint8)
    with workers(PhotoFiles(tmp_path), 1) as draw_elsewhere:
        draw_elsewhere(records, whole(records), image)
    assert image.any()


def test_photos_of_a_store_are_read_by_threads(data_config):
    with pytest.raises(InputError, match="workers is 2; expected 0 for photos in a store"):
        check_keys(data_config("lists", "gs://bucket/photos", {"workers": 2}))
    check_keys(data_config("lists", "photos", {"workers": 2}))


def test_photos_without_files_have_none(data_config):
    with pytest.raises(InputError, match=r"^data\.workers is 2, but 'scenes' has no files of photos; expected 0$"):
        load_dataset(data_config("scenes", changes={"workers": 2}), seed=0)


def test_the_key_reaches_the_photos(tmp_path, write_photo, data_config):
    for name in ("a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.jpg"):
        write_photo(tmp_path / name)
    assert load_dataset(data_config("folder", tmp_path, {"workers": 3}), seed=0).read == PhotoFiles(tmp_path, True, 3)
